-- ARGV 4 reference.
for _, key in ipairs({ READY, LEASED, DELAYED, DEAD }) do
  redis.call('ZREM', key, ARGV[4])
end
forget(ARGV[4])
return 1
