-- Decides a call, and charges it if it is admitted: the rules of skene/engine.
-- KEYS: the subject's hash; for its bucket idempotency keys, their ages, what is to be reported, team members,
-- and when counters end.
-- ARGV: the call as JSON; what SQL says of the subject as JSON or '', and the version it was read for.

local state = KEYS[1]
local call = cjson.decode(ARGV[1])
local now = instant(call.now)

local function window_at(rule, at, cycle)
  if rule[1] == 'anchored' then return at, plus(at, rule[2]) end
  if rule[1] == 'rolling' then
    local start = format('%.0f', at - at % rule[3])
    return start, plus(plus(start, rule[3]), rule[2])
  end
  local edges = rule[2]
  if rule[3] and #cycle > 0 then edges = cycle end
  local start, finish = '0', FOREVER
  for _, edge in ipairs(edges) do
    if less(at, edge) then return start, edge end
    start = edge
  end
  return start, finish
end

local function fresh(rule, at, cycle)
  local start, finish = window_at(rule, at, cycle)
  return {start, finish, '0', '0', {}, {}, {}}
end

local function rolled(counter, rule)
  local length, part = rule[2], rule[3]
  local kept = counter[PARTS]
  if #kept == 0 then kept = {{counter[START], counter[USED]}} end
  local live, used = {}, '0'
  for _, one in ipairs(kept) do
    if one[2] ~= '0' and less(now, plus(plus(one[1], part), length)) then
      live[#live + 1] = {one[1], one[2]}
      used = plus(used, one[2])
    end
  end
  if #live == 0 then return fresh(rule, greater(now, counter[START]), {}) end
  local extra = minus(counter[EXTRA], minus(counter[USED], used))
  local oldest = live[1][1]
  return {oldest, plus(plus(oldest, part), length), used, extra, live, counter[NOTICES], {}}
end

local function present(counter, rule, cycle)
  if not counter then return fresh(rule, now, cycle) end
  if rule[1] == 'rolling' then return rolled(counter, rule) end
  if not less(now, counter[END]) then return fresh(rule, now, cycle) end
  if rule[1] == 'edges' then
    local start, finish = window_at(rule, now, cycle)
    if less(counter[START], start) then return {start, finish, '0', '0', {}, {}, {}} end
  end
  return {counter[START], counter[END], counter[USED], counter[EXTRA], {}, counter[NOTICES], {}}
end

-- The instant that names the charge.
local function charge(counter, rule, cost, extra)
  counter[USED] = smaller(plus(counter[USED], cost), MOST)
  counter[EXTRA] = smaller(plus(counter[EXTRA], extra), MOST)
  if rule[1] ~= 'rolling' then return counter[START] end
  local parts, at = counter[PARTS], counter[START]
  local last = parts[#parts]
  if last then at = greater(format('%.0f', now - now % rule[3]), last[1]) end
  if last and last[1] == at then
    last[2] = smaller(plus(last[2], cost), MOST)
  else
    parts[#parts + 1] = {at, cost}
  end
  return at
end

-- Put a window that is over aside, with what was reported of it.
local function archive(line, stored)
  local bill, start = stored[BILL], stored[START]
  local field = named('p', line.meter, line.plan) .. '\0' .. start
  local known = redis.call('HGET', state, field)
  local used, reported, reports = stored[USED], bill[REPORTED], bill[REPORTS]
  if known then
    known = cjson.decode(known)
    used, reported = smaller(plus(used, known[2]), MOST), smaller(plus(reported, known[4]), MOST)
    reports = greater(reports, known[5])
  end
  redis.call('HSET', state, field, cjson.encode({stored[END], used, 1, reported, reports}))
  redis.call('ZADD', KEYS[4], 0, due(line.meter, line.plan, call.subject, start))
  redis.call('ZADD', KEYS[6], plus(stored[END], KEPT), key_of(call.subject, field))
end

-- What becomes of the bill when a counter is charged.
local function note(line, stored, after)
  local before = stored and stored[BILL] or {}
  local moved = false
  if stored and line.rule[1] ~= 'rolling' then
    moved = (stored[USED] ~= '0' and line.clean) or stored[START] ~= after[START]
  end
  if moved and before[SINCE] == stored[START] and (stored[USED] ~= '0' or before[REPORTED] ~= '0') then
    archive(line, stored)
  end
  local start, reports = after[START], before[REPORTS] or '0'
  if line.billed then
    after[BILL] = {1, (moved or #before == 0) and '0' or told(before, start), start, reports}
    redis.call('ZADD', KEYS[4], 0, due(line.meter, line.plan, call.subject, start))
  elseif not moved then
    after[BILL] = before
  elseif reports ~= '0' then
    after[BILL] = {0, '0', '', reports}
  end
  return line.billed or #after[BILL] > 0
end

local function limit_for(item, planned, mirror)
  local own = not item.watched and mirror.own[item.meter]
  if own and (own[2] == '' or less(now, own[2])) then return own[1] end
  if item.feature then
    for _, feature in ipairs(mirror.features) do
      if feature == item.feature then return '' end
    end
  end
  return planned
end

-- What grants hold for a meter: those that expire first come first, and of equals the oldest.
local function pots_of(meter, mirror)
  local pots, sum = {}, '0'
  for _, pot in ipairs(mirror.pots) do
    if pot[2] == meter and (pot[4] == '' or less(now, pot[4])) then
      local kept = redis.call('HGET', state, 's:' .. pot[1])
      local spent = kept and cjson.decode(kept)[2] or '0'
      local left = minus(pot[3], spent)
      if left ~= '0' then
        local until_then = pot[4] == '' and FOREVER or pot[4]
        pots[#pots + 1] = {name = pot[1], left = left, spent = spent, ends = until_then, number = pot[5]}
        sum = plus(sum, left)
      end
    end
  end
  table.sort(pots, function(a, b)
    if a.ends ~= b.ends then return less(a.ends, b.ends) end
    return a.number < b.number
  end)
  return pots, smaller(sum, MOST)
end

local function draw(line, units)
  for _, pot in ipairs(line.pots) do
    if units == '0' then return end
    local taken = smaller(units, pot.left)
    local kept = {line.meter, plus(pot.spent, taken), now, pot.ends, pot.number}
    redis.call('HSET', state, 's:' .. pot.name, cjson.encode(kept))
    units = minus(units, taken)
  end
end

local function look(item, held, mirror)
  local plan = item.limits[held] and held or call.default
  local stored = read(state, item.meter, plan)
  local counter = present(stored, item.rule, mirror.cycle)
  local limit = limit_for(item, item.limits[plan], mirror)
  local pots, granted = pots_of(item.meter, mirror)
  local room = limit ~= '' and minus(limit, minus(counter[USED], counter[EXTRA]))
  local billed = false
  for _, one in ipairs(item.billed) do billed = billed or one == plan end
  return {
    meter = item.meter, step = item.step, rule = item.rule, cost = item.cost, plan = plan, limit = limit,
    stored = stored, counter = counter, clean = counter[USED] == '0', pots = pots, granted = granted,
    room = room, fits = not room or not less(plus(room, granted), item.cost), billed = billed,
  }
end

local function reported(line)
  if line.limit == '' then return '' end
  local counter, plans = line.counter, line.limit
  if line.granted ~= '0' then plans = greater(plans, minus(counter[USED], counter[EXTRA])) end
  return smaller(plus(plus(plans, counter[EXTRA]), line.granted), MOST)
end

local function told_of(line, fits, at)
  local counter, wall = line.counter, ''
  if not fits then
    local known = redis.call('HGET', state, named('w', line.step, line.plan))
    known = known and cjson.decode(known)
    if known and less(now, known[2]) then wall = known[1] end
  end
  return {
    line.plan, reported(line), counter[USED], fits, counter[START], counter[END], counter[NOTICES], wall, at,
    line.granted,
  }
end

local function spend(line)
  local extra = line.room and minus(line.cost, line.room) or '0'
  draw(line, extra)
  line.granted = minus(line.granted, extra)
  local at = charge(line.counter, line.rule, line.cost, extra)
  local lasting = note(line, line.stored, line.counter)
  write(state, line.meter, line.plan, line.counter)
  if not line.stored then
    local member = string.match(line.meter, '^[^/@]*@(.*)$')
    if member then redis.call('ZADD', KEYS[5], 0, member .. '\0' .. call.subject) end
  end
  return at, lasting or extra ~= '0' or line.counter[END] == FOREVER
end

-- A subject that is heard of no more takes no room for ever, unless something lasts: see ports/retention.py.
local function expire(existed, lasting, last)
  if lasting then
    if redis.call('PERSIST', state) == 1 then note_ends(state, KEYS[6], call.subject) end
  elseif not existed then
    redis.call('PEXPIREAT', state, format('%.0f', last / 1000))
  else
    redis.call('PEXPIREAT', state, format('%.0f', last / 1000), 'GT')
  end
end

local function keep_key()
  local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', minus(now, DAY), 'LIMIT', 0, 20)
  for _, name in ipairs(old) do
    redis.call('HDEL', KEYS[2], name)
    redis.call('ZREM', KEYS[3], name)
  end
  local name = key_of(call.subject, call.key)
  redis.call('HSET', KEYS[2], name, cjson.encode({now, 0, call.fingerprint}))
  redis.call('ZADD', KEYS[3], now, name)
end

local function main()
  local existed = redis.call('EXISTS', state) == 1
  local kept = redis.call('HMGET', state, 'mirror', 'into', 'merging', 'version')
  local version = kept[4] or '0'
  if kept[2] then
    local into = cjson.decode(kept[2])
    if less(now, into[3]) or less(plus(into[3], call.lasts), now) then
      return {'load', version, now, kept[2]}
    end
    return {'moved', into[1]}
  end
  if kept[3] and not call.alone then return {'merging', kept[3]} end
  local brought = ARGV[2] ~= ''
  if brought and ARGV[3] ~= version then return {'load', version, now, ''} end
  if not brought and not kept[1] then return {'load', version, now, ''} end
  local mirror = cjson.decode(brought and ARGV[2] or kept[1])
  local stale = less(plus(mirror.at, call.lasts), now) or less(now, mirror.at)
    or (#mirror.cycle > 0 and not less(now, mirror.turns))
  if stale and not brought then return {'load', version, now, ''} end

  local replayed = false
  local known = call.key and redis.call('HGET', KEYS[2], key_of(call.subject, call.key))
  known = known and cjson.decode(known)
  if known and less(now, plus(known[1], DAY)) then
    if known[3] ~= call.fingerprint then return {'conflict'} end
    replayed = true
  end

  local held = mirror.plan
  if not held or (mirror.ends and not less(now, mirror.ends)) then held = call.default end
  local lines, admitted = {}, true
  for place, item in ipairs(call.charges) do
    lines[place] = look(item, held, mirror)
    admitted = admitted and lines[place].fits
  end
  -- Nobody is refused because of what SQL said a while ago.
  if not admitted and not replayed and not brought and less(plus(mirror.at, call.moment), now) then
    return {'load', version, now, ''}
  end

  local last, lasting = plus(now, DAY), false
  local charging = call.spend and admitted and not replayed
  local told_all = {}
  for place, line in ipairs(lines) do
    local at = ''
    if charging then
      local lasts
      at, lasts = spend(line)
      lasting = lasting or lasts
      last = greater(last, kept_until(line.counter[START], line.counter[END]))
    end
    told_all[place] = told_of(line, line.fits or replayed, at)
  end
  if brought then redis.call('HSET', state, 'mirror', ARGV[2]) end
  if charging and call.key then keep_key() end
  if replayed and call.spend and known[2] == 0 then
    redis.call('HSET', KEYS[2], key_of(call.subject, call.key), cjson.encode({known[1], 1, known[3]}))
  end
  if not call.now and (charging or (brought and not existed)) then expire(existed, lasting, last) end
  if charging and (call.now or redis.call('PTTL', state) == -1) then
    for _, line in ipairs(lines) do
      local field = named('c', line.meter, line.plan)
      local until_then = needed_until(field, line.counter)
      if until_then then redis.call('ZADD', KEYS[6], until_then, key_of(call.subject, field)) end
    end
  end
  local answer = {admitted or replayed, replayed, now, held, mirror.customer or '', mirror.checked or '', told_all}
  return {'counted', cjson.encode(answer)}
end

return main()
