-- ARGV 3 which of the four sets (1 ready, 2 leased, 3 delayed, 4 dead), 4 first, 5 last. Returns seven each: reference, score, attempts,
-- time it came in, its time in this set (for ready: when it came in), worker, reason.
catch_up()
local place = tonumber(ARGV[3])
local found = redis.call('ZRANGE', KEYS[place], ARGV[4], ARGV[5], 'WITHSCORES')
local answer = {}
for i = 1, #found, 2 do
  local reference, at = found[i], tonumber(found[i + 1])
  local item = fetch(reference) or fresh(place == 1 and at or now)
  local row = { reference, item[SCORE], item[ATTEMPTS], item[ENTERED_AT], place == 1 and item[ENTERED_AT] or at, item[WORKER], item[REASON] }
  for _, value in ipairs(row) do
    answer[#answer + 1] = value
  end
end
return answer
