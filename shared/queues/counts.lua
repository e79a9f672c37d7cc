-- Returns the sizes of ready, leased, delayed and dead, the age of the oldest item in ms, and in how many ms the next lease or delay ends
-- (-1 where there is none).
catch_up()
local oldest = redis.call('ZRANGE', ENTERED, 0, 0, 'WITHSCORES')[2]
local soonest = -1
for _, key in ipairs({ LEASED, DELAYED }) do
  local ends = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if ends and (soonest < 0 or ends - now < soonest) then soonest = math.max(0, ends - now) end
end
return {
  redis.call('ZCARD', READY), redis.call('ZCARD', LEASED), redis.call('ZCARD', DELAYED), redis.call('ZCARD', DEAD),
  oldest and math.max(0, now - oldest) or 0, soonest,
}
