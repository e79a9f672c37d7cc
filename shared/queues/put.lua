-- ARGV from 3, four each: reference, score, time it came in (ms, 0 for now), attempts so far. Returns how many were new.
local added = 0
for i = 3, #ARGV, 4 do
  local reference, score, entered_at = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local item = fetch(reference)
  if not item then
    if entered_at == 0 then entered_at = now end
    store(reference, fresh(score, entered_at, tonumber(ARGV[i + 3])))
    redis.call('ZADD', READY, score, reference)
    redis.call('ZADD', ENTERED, entered_at, reference)
    added = added + 1
  else
    if item[SCORE] ~= score then
      item[SCORE] = score
      store(reference, item)
      redis.call('ZADD', READY, 'XX', score, reference)
    end
    -- A record that is in no set can only come from a damaged store; a put mends it.
    if not (redis.call('ZSCORE', READY, reference) or redis.call('ZSCORE', LEASED, reference)
        or redis.call('ZSCORE', DELAYED, reference) or redis.call('ZSCORE', DEAD, reference)) then
      redis.call('ZADD', READY, score, reference)
      redis.call('ZADD', ENTERED, item[ENTERED_AT], reference)
      added = added + 1
    end
  end
end
if added > 0 then ring() end
return added
