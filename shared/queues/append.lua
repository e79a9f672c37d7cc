-- KEYS 1 stream. ARGV 1 about how many entries the stream may hold, 2.. the entries. Returns their ids.
local ids = {}
for i = 2, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'k', ARGV[i])
end
return ids
