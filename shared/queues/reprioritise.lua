-- ARGV 3 reference, 4 score. Returns 1, or 0 where the reference is not in the queue.
local item = fetch(ARGV[3])
if not item then return 0 end
item[SCORE] = tonumber(ARGV[4])
store(ARGV[3], item)
redis.call('ZADD', READY, 'XX', item[SCORE], ARGV[3])
return 1
