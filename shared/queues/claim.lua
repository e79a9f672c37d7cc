-- ARGV 3 how many, 4 lease in ms, 5 token, 6 worker. Returns the end of the leases (ms), then four each: reference, score, attempts,
-- time it came in.
local expires_at, token, worker = now + tonumber(ARGV[4]), ARGV[5], ARGV[6]
catch_up()
local popped = redis.call('ZPOPMIN', READY, ARGV[3])
local answer = { expires_at }
for i = 1, #popped, 2 do
  local reference = popped[i]
  local item = fetch(reference) or fresh(tonumber(popped[i + 1]))
  item[ATTEMPTS], item[TOKEN], item[WORKER] = item[ATTEMPTS] + 1, token, worker
  store(reference, item)
  redis.call('ZADD', LEASED, expires_at, reference)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = reference, item[SCORE], item[ATTEMPTS], item[ENTERED_AT]
end
return answer
