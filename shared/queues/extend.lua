-- ARGV 3 reference, 4 token, 5 lease in ms. Returns the new end of the lease (ms), or nothing where the lease is lost.
if not held(ARGV[3], ARGV[4]) then return false end
local expires_at = now + tonumber(ARGV[5])
redis.call('ZADD', LEASED, 'XX', expires_at, ARGV[3])
return expires_at
