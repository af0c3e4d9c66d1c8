-- Gives units back to the window, or part, that they were charged in.
-- KEYS: the subject's hash; for its bucket idempotency keys, their ages, what is to be reported.
-- ARGV: JSON.

local state = KEYS[1]
local call = cjson.decode(ARGV[1])
local now = instant(call.now)

-- Where the units of a subject that was merged into this one since have gone.
local function after_merge(counter, at)
  local length = minus(counter[END], counter[START])
  local running = not less(call.merged_at, at) and less(minus(call.merged_at, at), length)
  if running and #counter[PARTS] == 0 and not less(call.merged_at, counter[START]) then return counter[START] end
  return at
end

-- Whether the window, or part, is the running one.
local function give_back(counter, at, cost)
  local used = minus(counter[USED], cost)
  if #counter[PARTS] > 0 then
    local found = false
    used = '0'
    for _, part in ipairs(counter[PARTS]) do
      if part[1] == at then found, part[2] = true, minus(part[2], cost) end
      used = plus(used, part[2])
    end
    if not found then return false end
  elseif counter[START] ~= at then
    return false
  end
  counter[EXTRA] = minus(counter[EXTRA], minus(counter[USED], used))
  counter[USED] = used
  return true
end

-- To the grant that was spent from last before the others.
local function put_back(meter, units)
  local spent, kept = {}, redis.call('HGETALL', state)
  for place = 1, #kept, 2 do
    if string.sub(kept[place], 1, 2) == 's:' then
      local pot = cjson.decode(kept[place + 1])
      if pot[1] == meter and pot[2] ~= '0' then spent[#spent + 1] = {field = kept[place], pot = pot} end
    end
  end
  table.sort(spent, function(a, b)
    if a.pot[3] ~= b.pot[3] then return less(b.pot[3], a.pot[3]) end
    if a.pot[4] ~= b.pot[4] then return less(b.pot[4], a.pot[4]) end
    return a.pot[5] > b.pot[5]
  end)
  for _, one in ipairs(spent) do
    if units == '0' then return end
    local back = smaller(units, one.pot[2])
    one.pot[2] = minus(one.pot[2], back)
    redis.call('HSET', state, one.field, cjson.encode(one.pot))
    units = minus(units, back)
  end
end

local function return_one(meter, plan, at, cost)
  local counter = read(state, meter, plan)
  if counter then
    if call.merged_at then at = after_merge(counter, at) end
    local extra = counter[EXTRA]
    if give_back(counter, at, cost) then
      if note_give_back(counter, counter[START]) then
        redis.call('ZADD', KEYS[4], 0, due(meter, plan, call.subject, counter[START]))
      end
      write(state, meter, plan, counter)
      local in_window = less(minus(now, at), minus(counter[END], counter[START]))
      if in_window then put_back(meter, minus(extra, counter[EXTRA])) end
      return
    end
  end
  local field = named('p', meter, plan) .. '\0' .. at
  local past = redis.call('HGET', state, field)
  if not past then return end
  past = cjson.decode(past)
  past[2] = minus(past[2], cost)
  if past[4] ~= '0' then
    past[3] = 1
    redis.call('ZADD', KEYS[4], 0, due(meter, plan, call.subject, at))
  end
  redis.call('HSET', state, field, cjson.encode(past))
end

local into = redis.call('HGET', state, 'into')
if into then return {'moved', into} end
local known = call.key and redis.call('HGET', KEYS[2], key_of(call.subject, call.key))
if known then
  known = cjson.decode(known)
  if known[2] == 1 and less(now, plus(known[1], DAY)) then return {'done'} end
  redis.call('HDEL', KEYS[2], key_of(call.subject, call.key))
  redis.call('ZREM', KEYS[3], key_of(call.subject, call.key))
end
for _, receipt in ipairs(call.receipts) do return_one(receipt[1], receipt[2], receipt[3], receipt[4]) end
return {'done'}
