---- What the parts share -------------------------------------------------------------------------------------------

local call, pcall, pack, unpack = redis.call, redis.pcall, struct.pack, struct.unpack
local floor, max, min = math.floor, math.max, math.min
local byte, format = string.byte, string.format

local SLACK_MS = 100 -- rounding, and the time between the clock that ends keys and `now`

local now = tonumber(ARGV[2])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local lease = ARGV[3]

local function ceil_div(amount, by)
  return floor((amount + by - 1) / by)
end

local function ttl_ms(us)
  return floor((us + 999) / 1000) + SLACK_MS
end

-- A key of another type, from a time when the limit had another algorithm, counts as holding nothing.
local function foreign(reply)
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then error(reply.err, 0) end
  return ''
end
