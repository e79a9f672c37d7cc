-- Returns how many leases had expired.
local expired = catch_up()
if expired > 0 then ring() end
return expired
