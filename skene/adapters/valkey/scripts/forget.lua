-- Erases what is kept of a subject. Tells how much it was, and the names that were merged into it, and whom it was merged into.
-- KEYS: the subject's hash; for its bucket idempotency keys, their ages, what is to be reported, team members,
-- and when counters end.
-- ARGV: the subject.

local erased, aliases, begins = 0, {}, key_of(ARGV[1], '')
for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(name, 1, #begins) == begins then
    erased = erased + 1
    redis.call('HDEL', KEYS[2], name)
    redis.call('ZREM', KEYS[3], name)
  end
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local kind, rest = string.sub(field, 1, 2), string.sub(field, 3)
  if kind == 'c:' or kind == 'p:' then
    erased = erased + 1
    redis.call('ZREM', KEYS[6], key_of(ARGV[1], field))
    local meter, plan = string.match(rest, '^([^%z]*)%z([^%z]*)')
    for _, window in ipairs(redis.call('ZRANGEBYLEX', KEYS[4],
      '[' .. due(meter, plan, ARGV[1], ''), '(' .. due(meter, plan, ARGV[1], ':'))) do
      redis.call('ZREM', KEYS[4], window)
    end
    local member = string.match(meter, '^[^/@]*@(.*)$')
    if member then redis.call('ZREM', KEYS[5], member .. '\0' .. ARGV[1]) end
  elseif kind == 'a:' then
    aliases[#aliases + 1] = rest
  end
end
local into = redis.call('HGET', KEYS[1], 'into')
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('DEL', KEYS[1])
-- For as long as somebody may be under way with what SQL said before.
redis.call('HSET', KEYS[1], 'version', version)
redis.call('PEXPIRE', KEYS[1], 10000)
return {erased, aliases, into and cjson.decode(into)[1] or ''}
