---- Puts right what calls were charged: see gateway/core/settlement.py ---------------------------------------------
--
-- Runs as one text: clock.lua, common.lua, the algorithms, this.
--
-- KEYS[i]  partition of the i-th charge
--
-- ARGV[1]  op      settle
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  at_us   the clock when the charges were made
-- ARGV[2 + 2 * i]  the rule of the i-th limit, packed as for admit
-- ARGV[3 + 2 * i]  units more (less: below 0) that the i-th charge really was
--
-- Reply, a flat list of integers:
--   reply.settled  how many charges were looked at

local RULE = '>BBI4I4I6I6I6'
local MAX_UNITS, MOST_MOVED = 2 ^ 32 - 1, 1000

local at = tonumber(ARGV[3])

-- Makes the entry of `at` smaller. Entries behind it hold the units charged before them: so each is written anew.
local function smaller(key, units, window, step)
  local _, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest =
    struct.unpack(HEADER, read(key, '52', 53, 0x11))
  local behind = newest - (at + -at % step)
  if behind < 0 or behind >= newest + window - now then return end

  local entry_at = logs()
  local function slot(index) return (head + index) % capacity end
  local later, following, index = {}, total, count - 1
  while true do
    local its_stamp, before = entry_at(key, slot(index))
    local age = (stamp - its_stamp) % STAMPS
    if age == behind then
      local held = (following - before) % UNITS
      units = math.min(units, held)
      if units < held then index = index + 1 end -- it stays; what is behind it is written from `index` on
      break
    end
    later[#later + 1], following = {its_stamp, before}, before
    index = index - 1
    if age > behind or index < 0 or #later >= MOST_MOVED then return end
  end

  for i = #later, 1, -1 do
    local entry = struct.pack(ENTRY, later[i][1], (later[i][2] - units) % UNITS)
    redis.call('SETRANGE', key, HEADER_BYTES + slot(index) * ENTRY_BYTES, entry)
    index = index + 1
  end
  if index == 0 then return redis.call('DEL', key) end
  local last = entry_at(key, slot(index - 1))
  newest, stamp, count = newest - (stamp - last) % STAMPS, last, index
  oldest, total = entry_at(key, head), (total - units) % UNITS
  local header = struct.pack(HEADER, 0x11, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest)
  redis.call('SETRANGE', key, '0', header)
end

local function windows(algorithm, key, delta, quota, window, a, rule)
  local _, present, begin = algorithm(key, 1, MAX_UNITS, window, a, 0, rule)
  local remaining = present[1](present, nil, true)
  local used, most = MAX_UNITS - remaining, math.min(2 * quota, MAX_UNITS)
  if delta > 0 then
    delta = math.min(delta, most - used)
    if delta <= 0 then return end
  elseif used == 0 then
    return
  elseif algorithm == rolling_window then
    return smaller(key, -delta, window, a)
  elseif at < begin then
    return
  end
  local _, state = algorithm(key, math.max(delta, -used), quota, window, a, 0, rule)
  state[1](state, 1, true)
end

local FORMATS = {{'52', 53, 0x11}, {'20', 21, 0x21}, {'11', 12, 0x31}}

for i, key in ipairs(KEYS) do
  local code, _, _, quota, window, a, b = struct.unpack(RULE, ARGV[2 + 2 * i])
  local delta = tonumber(ARGV[3 + 2 * i])
  local format, grant = FORMATS[code], nil
  local known = format and delta ~= 0 and read(key, format[1], format[2], format[3])
  if granted then -- the counter is beside it, see grant.lua
    granted, grant, key = false, key, key .. '!'
    known = read(key, format[1], format[2], format[3])
  end
  if known or format and delta > 0 then
    if code == 2 then
      local _, state = token_bucket(key, delta, quota, window, a, b)
      state[1](state, 1, true)
    else
      windows(code == 1 and rolling_window or fixed_window, key, delta, quota, window, a, ARGV[2 + 2 * i])
    end
  end
  if grant and redis.call('PTTL', grant) < redis.call('PTTL', key) then
    redis.call('PEXPIRE', grant, redis.call('PTTL', key))
  end
end
return {#KEYS}
