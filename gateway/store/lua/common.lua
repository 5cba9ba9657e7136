---- What the parts share -------------------------------------------------------------------------------------------
--
-- The script runs as one text: clock.lua, common.lua, one file for each algorithm, circuit.lua, guards.lua, admit.lua.
-- Functions and tables are made anew in every run, and are the larger part of its cost: hence few of them, and made
-- where they are needed.
--
-- An algorithm is a function of (key, cost, quota, window, a, b, rule). It reads, and returns
--   retry   how long until this cost would be admitted; 0 = there is room
--   state   a table: a function (state, calls, commit), and what it needs to know. It charges the cost of so many calls,
--           which have room; or with nil, if it may commit, makes a backward step of the clock good; or nothing. It
--           returns remaining, reset, more as they are then, and a token bucket fourth what is missing, in units times
--           per. (A table is cheaper to hand over than variables that a function made on the spot captures.)
--   begin   fixed window only: when the present window began

local GRANTED = 0x71
local granted -- true: what was read last is a grant, see grant.lua

-- The first `bytes` bytes, up to index `last`, of a string that begins with the byte `format`; nil if there is no such
-- thing. Raises every error but that the key holds another type: from a time when the limit had another algorithm.
local function read(key, last, bytes, format)
  local packed = redis.pcall('GETRANGE', key, '0', last)
  if packed.err then
    if not string.find(packed.err, 'WRONGTYPE', 1, true) then error(packed.err, 0) end
    return
  end
  local begins = string.byte(packed)
  if begins == format and #packed >= bytes then return packed end
  granted = begins == GRANTED
end
