-- Deletes a counter, or a window that is over, that is not needed any more. Tells how many: one or none.
-- KEYS: the subject's hash; for its bucket idempotency keys, their ages, what is to be reported, team members,
-- and when counters end.
-- ARGV: JSON.

local state = KEYS[1]
local call = cjson.decode(ARGV[1])
local now = instant(call.now)
local name = key_of(call.subject, call.field)
local kept = redis.call('HGET', state, call.field)
if not kept then
  redis.call('ZREM', KEYS[6], name)
  return {0}
end
kept = cjson.decode(kept)
local until_then = needed_until(call.field, kept)
if not until_then then
  redis.call('ZREM', KEYS[6], name)
  return {0}
end
if less(now, until_then) then
  redis.call('ZADD', KEYS[6], until_then, name)
  return {0}
end
local bill = string.sub(call.field, 1, 2) == 'p:' and {kept[3]} or kept[BILL]
if bill[BILLABLE] == 1 then return {0} end -- somebody is still to get it
redis.call('HDEL', state, call.field)
redis.call('ZREM', KEYS[6], name)
local member = string.match(call.field, '^c:[^/@%z]*@([^%z]*)')
if member then redis.call('ZREM', KEYS[5], member .. '\0' .. call.subject) end
return {1}
