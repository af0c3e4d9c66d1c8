-- Packs what is counted of a subject into a parcel for the one it was merged into, once, and leaves word.
-- KEYS: the subject's hash; for its bucket idempotency keys, their ages, what is to be reported, team members,
-- and when counters end.
-- ARGV: JSON.

local state = KEYS[1]
local call = cjson.decode(ARGV[1])
local now = instant(call.now)
local kept = redis.call('HGETALL', state)
local fields, moved = {}, {}
for place = 1, #kept, 2 do
  local kind = string.sub(kept[place], 1, 2)
  if kind == 'r:' then return {'reporting'} end
  if kind == 'c:' or kind == 'p:' or kind == 's:' or kind == 'a:' then
    moved[#moved + 1] = kept[place]
    fields[kept[place]] = kept[place + 1]
  end
end
local before = redis.call('HGET', state, 'into')
local merged_at = before and cjson.decode(before)[2] or now
redis.call('HSET', state, 'into', cjson.encode({call.into, merged_at, now}))
redis.call('PERSIST', state)
redis.call('HDEL', state, 'mirror')
redis.call('HINCRBY', state, 'version', 1)
local parcel = redis.call('HGET', state, 'parcel')
if parcel then return {'parcel', parcel, now} end
local begins, keys, keyed = key_of(call.subject, ''), {}, {}
for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(name, 1, #begins) == begins then
    keyed[#keyed + 1] = name
    keys[string.sub(name, #begins + 1)] = redis.call('HGET', KEYS[2], name)
  end
end
if #moved == 0 and #keyed == 0 then return {'nothing'} end
for _, field in ipairs(moved) do
  redis.call('HDEL', state, field)
  redis.call('ZREM', KEYS[6], key_of(call.subject, field))
end
for _, name in ipairs(keyed) do
  redis.call('HDEL', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
end
for _, field in ipairs(moved) do
  local kind, rest = string.sub(field, 1, 1), string.sub(field, 3)
  if kind == 'c' then
    local counter = cjson.decode(fields[field])
    local since = counter[BILL][SINCE]
    if since then redis.call('ZREM', KEYS[4], rest .. '\0' .. call.subject .. '\0' .. since) end
  elseif kind == 'p' then
    local name, start = string.match(rest, '^(.*)%z([^%z]*)$')
    redis.call('ZREM', KEYS[4], name .. '\0' .. call.subject .. '\0' .. start)
  end
end
local number = redis.call('HINCRBY', state, 'parcels', 1)
parcel = cjson.encode({number = number, fields = fields, keys = keys})
redis.call('HSET', state, 'parcel', parcel)
return {'parcel', parcel, now}
