-- ARGV 3 reference.
for _, key in ipairs({ READY, LEASED, DELAYED, DEAD }) do
  redis.call('ZREM', key, ARGV[3])
end
forget(ARGV[3])
return 1
