-- ARGV 4 reference, 5 score. Returns 1, or 0 where the reference is not in the queue.
local item = fetch(ARGV[4])
if not item then return 0 end
item[SCORE] = tonumber(ARGV[5])
store(ARGV[4], item)
redis.call('ZADD', READY, 'XX', item[SCORE], ARGV[4])
return 1
