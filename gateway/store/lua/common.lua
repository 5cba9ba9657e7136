---- What the parts share -------------------------------------------------------------------------------------------
--
-- The script runs as one text: common.lua, one file for each algorithm, admit.lua. Functions and tables are made anew
-- in every run, and are the larger part of its cost: hence few of them, and made where they are needed.
--
-- An algorithm is a function of (key, cost, quota, window, a, b). It reads, and returns
--   retry   how long until this cost would be admitted; 0 = there is room
--   finish  function (charge, commit): writes the charge; or, if it may commit but not charge, makes a backward step
--           of the clock good; or nothing. Returns remaining, reset, more as they are then.
-- All times are in microseconds. `-a % b` is what `a` lacks to be a multiple of `b`: so `a + -a % b` is `a` rounded up.

local SLACK_MS = 100 -- for rounding, and for the time between the clock that ends keys and `now`

local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function ttl_ms(us)
  return (us + -us % 1000) / 1000 + SLACK_MS
end

-- Raises every error but that the key holds another type: from a time when the limit had another algorithm.
local function expect_foreign(reply)
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then error(reply.err, 0) end
end

-- The first bytes, up to index `last`, of a string that begins with the byte `format`; nil if there is no such thing.
local function read(key, last, format)
  local packed = redis.pcall('GETRANGE', key, '0', last)
  if type(packed) == 'table' then return expect_foreign(packed) end
  if #packed == last + 1 and string.byte(packed) == format then return packed end
end
