-- Returns how many leases had expired. Those who wait know the time of it themselves (counts.lua tells them) and need no call.
return catch_up()
