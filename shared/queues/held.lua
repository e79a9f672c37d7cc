-- ARGV from 3, two each: reference, token. Returns the references whose lease is lost. Changes nothing.
local lost = {}
for i = 3, #ARGV, 2 do
  if not held(ARGV[i], ARGV[i + 1]) then lost[#lost + 1] = ARGV[i] end
end
return lost
