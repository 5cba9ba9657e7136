---- How calls ended: see Circuit.reported in gateway/core/guards/breaker.py ----------------------------------------
--
-- KEYS[i]  the breaker's partition that the i-th report is about; the same may come several times. Behind them the list
--          of breakers that are not closed, see circuit.lua; or nothing: then whoever asks keeps the list.
--
-- ARGV[1]  op      report
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[2 + i]  the i-th report: the breaker's numbers, then what happened, packed big-endian; fields and their bytes:
--   report.window_us             6
--   report.minimum_calls         4
--   report.failure_ppm           4
--   report.slow_ppm              4
--   report.consecutive_failures  4
--   report.open_us               6
--   report.growth_milli          4
--   report.max_open_us           6
--   report.close_after           4
--   report.generation            4  of the standing with which the calls were let in
--   report.probe                 7  the same; 0 = no probe
--   report.passed                4  calls; they came before the failed ones
--   report.failed                4
--   report.slow                  4  of both
--   report.longer_us             6  the probe is not over, and given up so much later; 0 = it is over
--
-- Reply, a flat list of integers, for each report that changed the breaker's state:
--   change.report   which one, from 1 on
--   change.state    the new state: 0 closed, 1 open
--   change.reason   1 consecutive failures, 2 failure rate, 3 slow calls, 4 a probe failed, 6 probes succeeded
--   change.calls    what it judged by
--   change.failed
--   change.slow
--   change.wait_us  until the first probe
--
-- Successes that nothing has to be remembered of write nothing. A breaker that is closed and about which nothing is known
-- but calls of which none failed or was slow is by far the most frequent: more of them are written over the number there.

local REPORT = '>I6I4I4I4I4I6I4I6I4I4I7I4I4I4I6'
local PARTS, PART_BYTES, MAX_COUNT = 10, 12, 536870912
local NEWEST, COUNTS, NONE = '>I6I7', '>' .. string.rep('I4', 30), string.rep('\0', PARTS * PART_BYTES)
local ALL_PASSED = string.rep('....%z%z%z%z%z%z%z%z', PARTS) .. '$' -- parts without failed and slow calls
local QUIET = '^Q' .. string.rep('%z', 44) .. string.rep('.', 13) .. ALL_PASSED -- a circuit that knows nothing else
local NEWEST_CALLS = '58' -- where they are in it

local unknown, load, save, list = circuits()
local changes = {}
-- of the report that is looked at
local window_us, minimum_calls, failure_ppm, slow_ppm, consecutive_failures, open_us, growth_milli, max_open_us
local close_after, generation, probe, passed, failed, slow, longer_us

-- The length of a part of the window, and the number of the present one.
local function part()
  local width = (window_us + -window_us % PARTS) / PARTS
  return width, math.floor(now / width)
end

-- Whether nothing is to be remembered but a larger number of calls in the present part; then it is.
local function passed_too(key, packed)
  if failed + slow + generation + probe > 0 or passed == 0 or failure_ppm + slow_ppm == 0 then return false end
  if not packed or not string.find(packed, QUIET) then return false end
  local was, newest, calls = struct.unpack('>I6I7I4', packed, CIRCUIT_BYTES + 1)
  local width, number = part()
  if was ~= width or newest ~= number then return false end
  redis.call('SETRANGE', key, NEWEST_CALLS, struct.pack('>I4', math.min(MAX_COUNT, calls + passed)))
  return true
end

local function opened(c, reason, calls, bad, late)
  local longer = open_us
  if c.open > 0 then
    longer = c.open * growth_milli
    longer = (longer - longer % 1000) / 1000
  end
  local after = unknown(c.generation + 1)
  after.open = math.min(longer, max_open_us)
  after.state, after.since, after.ends, after.reason = OPEN, now, now + after.open, reason
  after.calls, after.failed, after.slow = calls, bad, late
  return after
end

-- The tallies with this report, and their totals. All parts but the newest stay as they are packed.
local function counted(packed)
  local width, number = part()
  local parts = NONE
  if packed ~= '' then
    local was, newest = struct.unpack(NEWEST, packed)
    local ahead = math.max(0, number - newest)
    if was == width and ahead < PARTS then
      parts = string.sub(NONE, 1, ahead * PART_BYTES) .. string.sub(packed, 14, 13 + (PARTS - ahead) * PART_BYTES)
    end
  end
  if failed + slow == 0 and string.find(parts, '^' .. ALL_PASSED) then -- by far the most: the rest of it cannot open a breaker
    local calls = math.min(MAX_COUNT, struct.unpack('>I4', parts) + passed)
    return struct.pack('>I6I7I4', width, number, calls) .. string.sub(parts, 5), calls, 0, 0
  end
  local counts = {struct.unpack(COUNTS, parts)}
  counts[1] = math.min(MAX_COUNT, counts[1] + passed + failed)
  counts[2] = math.min(MAX_COUNT, counts[2] + failed)
  counts[3] = math.min(MAX_COUNT, counts[3] + slow)
  local calls, bad, late = 0, 0, 0
  for i = 1, 3 * PARTS, 3 do calls, bad, late = calls + counts[i], bad + counts[i + 1], late + counts[i + 2] end
  local newest = struct.pack('>I6I7I4I4I4', width, number, counts[1], counts[2], counts[3])
  return newest .. string.sub(parts, PART_BYTES + 1), calls, bad, late
end

local function probed(c)
  if failed > 0 or slow > 0 and slow_ppm > 0 then
    return opened(c, 4, passed + failed, failed, slow)
  end
  c.row = math.min(MAX_COUNT, c.row + passed)
  if c.row >= close_after then
    local after = unknown(c.generation + 1)
    after.since, after.reason = now, 6
    return after, c.row
  end
  for n, ends in ipairs(c.probes) do
    if ends == probe then
      if longer_us > 0 then c.probes[n] = ends + longer_us else table.remove(c.probes, n) end
      break
    end
  end
  return c
end

local function closed(c)
  local row, tallies, calls, bad, late = 0, '', 0, 0, 0
  if consecutive_failures > 0 then
    row = math.min(MAX_COUNT, (passed > 0 and 0 or c.row) + failed)
  end
  if failure_ppm + slow_ppm > 0 then tallies, calls, bad, late = counted(c.tallies) end
  if consecutive_failures > 0 and row >= consecutive_failures then return opened(c, 1, row, row, 0) end
  if calls >= minimum_calls then
    if failure_ppm > 0 and bad * 1000000 >= failure_ppm * calls then
      return opened(c, 2, calls, bad, late)
    end
    if slow_ppm > 0 and late * 1000000 >= slow_ppm * calls then
      return opened(c, 3, calls, bad, late)
    end
  end
  local known = now - c.since >= REMEMBERED and unknown(0) or c
  if known.generation == c.generation and row == c.row and tallies == c.tallies then return end
  known.row, known.tallies = row, tallies
  return known
end

-- The i-th report, to a breaker that is like this.
local function take(i, key, c)
  local state, after, calls = c.state, nil, nil
  if generation == c.generation and c.ends <= now then
    if state == HALF_OPEN then
      after, calls = probed(c)
    elseif state == CLOSED and passed + failed > 0 then
      after = closed(c)
    end
  end
  if not after then return end
  save(key, after, window_us + part()) -- the time to live is not put off by what is written over in a part
  if after.state ~= state then
    local told = {i, after.state, after.reason, calls or after.calls, after.failed, after.slow, after.open}
    for _, number in ipairs(told) do changes[#changes + 1] = number end
    list(KEYS[#ARGV - 1], key, after.state ~= CLOSED and after.ends)
  end
end

for i = 1, #ARGV - 2 do
  local key = KEYS[i]
  window_us, minimum_calls, failure_ppm, slow_ppm, consecutive_failures, open_us, growth_milli, max_open_us,
    close_after, generation, probe, passed, failed, slow, longer_us = struct.unpack(REPORT, ARGV[2 + i])
  local packed = redis.call('MGET', key)[1]
  if not passed_too(key, packed) then take(i, key, load(packed)) end
end
return changes
