-- The beginning of every script of the department queue; the client puts it in front of the script's own text.
--
-- KEYS     ready    sorted set  reference -> priority rank * 1e13 + deadline in ms (below 2^53, so exact)
--          leased   sorted set  reference -> end of the lease in ms
--          delayed  sorted set  reference -> time at which it is ready again, in ms
--          dead     sorted set  reference -> time of death in ms
--          items    hash        reference -> record (below), for everything in the four sets
--          entered  sorted set  reference -> time it came in, in ms, for everything that is not dead
-- ARGV     1 now in ms, or '' for the server's clock: then the clocks of the workers' machines do not matter
--          2 leases that may expire in a row before the item is dead
-- All keys share one {department} tag, so that they live on one node of a cluster.

local READY, LEASED, DELAYED, DEAD, ITEMS, ENTERED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local MAX_LAPSES = tonumber(ARGV[2])
local SCORE, ATTEMPTS, ENTERED_AT, LAPSES, TOKEN, WORKER, REASON = 1, 2, 3, 4, 5, 6, 7
local SWEEP = 1000 -- most items one call moves because of the time, so that a call stays short

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Tell those who wait that something may have become claimable. It says only "look again": it may be lost or doubled without harm.
local function ring()
  redis.call('PUBLISH', string.gsub(READY, 'ready$', 'wake'), '')
end

local function fresh(score, entered_at, attempts)
  return { score, attempts or 0, entered_at or now, 0, '', '', '' }
end

local function fetch(reference)
  local packed = redis.call('HGET', ITEMS, reference)
  return packed and cmsgpack.unpack(packed)
end

local function store(reference, item)
  redis.call('HSET', ITEMS, reference, cmsgpack.pack(item))
end

local function forget(reference)
  redis.call('HDEL', ITEMS, reference)
  redis.call('ZREM', ENTERED, reference)
end

local function bury(reference, item, reason)
  item[TOKEN], item[REASON] = '', reason
  store(reference, item)
  redis.call('ZREM', ENTERED, reference)
  redis.call('ZADD', DEAD, now, reference)
end

-- The item, where this token holds a lease on it that has not expired.
local function held(reference, token)
  local item = fetch(reference)
  if not item or item[TOKEN] ~= token or token == '' then return nil end
  local ends = redis.call('ZSCORE', LEASED, reference)
  return ends and tonumber(ends) > now and item or nil
end

-- Do what time alone has decided: expired leases go back, delays end. Returns how many leases had expired.
-- A member whose record is gone (evicted by a server short of memory) counts as urgent and due now: rather too early than never.
local function catch_up()
  local expired = redis.call('ZRANGEBYSCORE', LEASED, '-inf', now, 'LIMIT', 0, SWEEP)
  for _, reference in ipairs(expired) do
    redis.call('ZREM', LEASED, reference)
    local item = fetch(reference) or fresh(now)
    item[LAPSES], item[TOKEN] = item[LAPSES] + 1, ''
    if item[LAPSES] >= MAX_LAPSES then
      bury(reference, item, 'lease expired ' .. item[LAPSES] .. ' times')
    else
      store(reference, item)
      redis.call('ZADD', READY, item[SCORE], reference)
    end
  end
  for _, reference in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, SWEEP)) do
    local item = fetch(reference) or fresh(now)
    redis.call('ZREM', DELAYED, reference)
    redis.call('ZADD', READY, item[SCORE], reference)
  end
  return #expired
end

