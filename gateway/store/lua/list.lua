---- Keeps the list of breakers that are not closed, where it cannot be with the breakers: on a Redis Cluster ---------
--
-- KEYS[1]  the list: see circuit.lua
--
-- ARGV[1]  op       list
-- ARGV[2]  now_us   0 = the server's clock; anything else is for tests
-- ARGV[3]  breaker  the key of its partition
-- ARGV[4]  for_us   how long it is open, or held; below 0: it is closed
--
-- Reply: nothing.

local _, _, _, list = circuits()
local lasts = tonumber(ARGV[4])
list(KEYS[1], ARGV[3], lasts >= 0 and now + lasts)
