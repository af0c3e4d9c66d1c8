-- Deletes idempotency keys after 24 h, some at a time. Tells how many.
-- KEYS: the keys of a bucket, and their ages. ARGV: an injected clock's time or '', and how many at most.

local now = instant(ARGV[1] ~= '' and ARGV[1])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', minus(now, DAY), 'LIMIT', 0, tonumber(ARGV[2]))
for _, name in ipairs(old) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
return {#old}
