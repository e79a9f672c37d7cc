-- ARGV 4 reference, 5 token, 6 lease in ms. Returns the new end of the lease (ms), or nothing where the lease is lost.
if not held(ARGV[4], ARGV[5]) then return false end
local expires_at = now + tonumber(ARGV[6])
redis.call('ZADD', LEASED, 'XX', expires_at, ARGV[4])
return expires_at
