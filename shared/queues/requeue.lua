-- ARGV 3 reference of a dead letter. Returns 1, or 0 where there is none. The reason of its death stays on record.
local reference = ARGV[3]
if redis.call('ZREM', DEAD, reference) == 0 then return 0 end
local item = fetch(reference) or fresh(now)
item[LAPSES] = 0
store(reference, item)
redis.call('ZADD', READY, item[SCORE], reference)
redis.call('ZADD', ENTERED, item[ENTERED_AT], reference)
ring()
return 1
