-- Whether warnings are new for a running window; remembers them if told to.
-- KEYS: the subject's hash. ARGV: JSON.

local call = cjson.decode(ARGV[1])
local into = redis.call('HGET', KEYS[1], 'into')
if into then return {'moved', into} end
local counter = read(KEYS[1], call.meter, call.plan)
if not counter or counter[START] ~= call.start or not less(instant(call.now), counter[END]) then return {'known'} end
local known, new = {}, false
for _, name in ipairs(counter[NOTICES]) do known[name] = true end
for _, name in ipairs(call.names) do
  if not known[name] then
    new, known[name] = true, true
    counter[NOTICES][#counter[NOTICES] + 1] = name
  end
end
if not new then return {'known'} end
if call.keep then write(KEYS[1], call.meter, call.plan, counter) end
return {'new'}
