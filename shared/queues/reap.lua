-- Returns how many leases had expired.
local expired = catch_up()
if expired > 0 then redis.call('PUBLISH', CHANNEL, '') end
return expired
