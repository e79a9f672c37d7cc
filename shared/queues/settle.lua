-- ARGV from 3, four each: reference, token, outcome (done, retry, dead), its detail (delay in ms, or reason). Returns the lost ones.
local lost, again = {}, false
for i = 3, #ARGV, 4 do
  local reference, outcome, detail = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local item = held(reference, ARGV[i + 1])
  if not item then
    lost[#lost + 1] = reference
  else
    redis.call('ZREM', LEASED, reference)
    if outcome == 'done' then
      forget(reference)
    elseif outcome == 'dead' then
      bury(reference, item, detail)
    else
      -- The worker is alive and said so: expired leases are counted anew.
      item[TOKEN], item[LAPSES], again = '', 0, true
      store(reference, item)
      local delay = tonumber(detail)
      if delay > 0 then
        redis.call('ZADD', DELAYED, now + delay, reference)
      else
        redis.call('ZADD', READY, item[SCORE], reference)
      end
    end
  end
end
if again then ring() end
return lost
