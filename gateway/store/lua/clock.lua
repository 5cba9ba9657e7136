---- The time, and how long keys live -------------------------------------------------------------------------------
--
-- ARGV[2] of every script that has a clock: now_us, 0 = the server's; anything else is for tests.
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
