-- KEYS 1 stream. ARGV 1 group, 2.. ids. Acknowledged and deleted in one step: an entry that were only acknowledged would stay for ever.
for i = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
return 1
