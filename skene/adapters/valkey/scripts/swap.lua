-- Changes fields if they are what they were when they were read.
-- KEYS: the subject's hash; for its bucket idempotency keys, their ages, what is to be reported, team members,
-- and when counters end.
-- ARGV: JSON, and the subject.

local call = cjson.decode(ARGV[1])
local state, subject = KEYS[1], ARGV[2]

if call.there and redis.call('EXISTS', state) == 0 then return {'other'} end
for field, value in pairs(call.expect) do
  if (redis.call('HGET', state, field) or '') ~= value then return {'other'} end
end
for field, value in pairs(call.set) do redis.call('HSET', state, field, value) end
for _, field in ipairs(call.gone) do
  redis.call('HDEL', state, field)
  redis.call('ZREM', KEYS[6], key_of(subject, field))
end
for key, value in pairs(call.keys) do
  if redis.call('HSETNX', KEYS[2], key, value) == 1 then
    redis.call('ZADD', KEYS[3], cjson.decode(value)[1], key)
  end
end
for _, window in ipairs(call.due) do redis.call('ZADD', KEYS[4], 0, window) end
for _, window in ipairs(call.settled) do redis.call('ZREM', KEYS[4], window) end
for _, name in ipairs(call.members) do redis.call('ZADD', KEYS[5], 0, name) end
for _, name in ipairs(call.parted) do redis.call('ZREM', KEYS[5], name) end
if call.changed then
  redis.call('HDEL', state, 'mirror')
  redis.call('HINCRBY', state, 'version', 1)
end
if call.lasting then
  redis.call('PERSIST', state)
  note_ends(state, KEYS[6], subject)
end
return {'swapped'}
