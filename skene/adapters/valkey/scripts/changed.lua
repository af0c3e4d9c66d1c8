-- What SQL says of a subject has changed: it is to be read anew. Tells whom the subject was merged into.
-- KEYS: the subject's hash.

local fresh = redis.call('EXISTS', KEYS[1]) == 0
redis.call('HDEL', KEYS[1], 'mirror')
redis.call('HINCRBY', KEYS[1], 'version', 1)
if fresh then redis.call('PEXPIRE', KEYS[1], 86400000) end
local into = redis.call('HGET', KEYS[1], 'into')
return {into and cjson.decode(into)[1] or ''}
