-- A counter of a subject, and how it is kept: the rules of skene/engine/counter.py and skene/engine/bill.py.
-- A counter is {start, end, used, extra, parts, notices, bill}, a part {start, used}, and a bill
-- {billable, reported, since, reports}, or empty.

local START, END, USED, EXTRA, PARTS, NOTICES, BILL = 1, 2, 3, 4, 5, 6, 7
local BILLABLE, REPORTED, SINCE, REPORTS = 1, 2, 3, 4

local function named(kind, meter, plan) return kind .. ':' .. meter .. '\0' .. plan end

local function due(meter, plan, subject, start)
  return meter .. '\0' .. plan .. '\0' .. subject .. '\0' .. start
end

-- An idempotency key of a subject.
local function key_of(subject, key) return subject .. '\0' .. key end

local function read(key, meter, plan)
  local kept = redis.call('HGET', key, named('c', meter, plan))
  return kept and cjson.decode(kept)
end

local function write(key, meter, plan, counter)
  redis.call('HSET', key, named('c', meter, plan), cjson.encode(counter))
end

-- A use counts in a rolling window for the window's length, and its end tells only when the first one leaves it.
local function kept_until(start, finish)
  return plus(plus(finish, minus(finish, start)), KEPT)
end

-- When a field will not be needed any more; nil: never.
local function needed_until(field, kept)
  if string.sub(field, 1, 2) == 'p:' then return plus(kept[1], KEPT) end
  if kept[END] ~= FOREVER then return kept_until(kept[START], kept[END]) end
end

-- Note when counters and windows of a subject that does not leave by itself will not be needed any more.
local function note_ends(state, ends, subject)
  for _, field in ipairs(redis.call('HKEYS', state)) do
    local kind = string.sub(field, 1, 2)
    if kind == 'c:' or kind == 'p:' then
      local until_then = needed_until(field, cjson.decode(redis.call('HGET', state, field)))
      if until_then then redis.call('ZADD', ends, until_then, key_of(subject, field)) end
    end
  end
end

local function told(bill, start)
  if bill[SINCE] == start then return bill[REPORTED] end
  return '0'
end

-- After units went back to the window that began at start: too much of it may have been reported.
local function note_give_back(counter, start)
  local bill = counter[BILL]
  if #bill == 0 or told(bill, start) == '0' then return false end
  bill[BILLABLE] = 1
  return true
end
