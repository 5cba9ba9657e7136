---- How calls ended: see Circuit.reported in gateway/core/breaker.py -----------------------------------------------
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
-- Successes that nothing has to be remembered of write nothing.

local REPORT = '>I6I4I4I4I4I6I4I6I4I4I7I4I4I4'
local PARTS, MAX_COUNT, TALLIES = 10, 536870912, '>I6I7' .. string.rep('I4', 30)

local unknown, load, save, list, REMEMBERED = circuits()
local changes = {}
local report -- of the fields above

local function opened(c, reason, calls, failed, slow)
  local longer = report.open_us
  if c.open > 0 then
    longer = c.open * report.growth_milli
    longer = (longer - longer % 1000) / 1000
  end
  local after = unknown(c.generation + 1)
  after.open = math.min(longer, report.max_open_us)
  after.state, after.since, after.ends, after.reason = OPEN, now, now + after.open, reason
  after.calls, after.failed, after.slow = calls, failed, slow
  return after
end

-- The tallies with this report, and their totals.
local function counted(packed)
  local width = (report.window_us + -report.window_us % PARTS) / PARTS
  local number = math.floor(now / width)
  local parts, ahead = {}, PARTS
  if packed ~= '' then
    parts = {struct.unpack(TALLIES, packed)} -- width, newest, the counts, and where it ended
    if parts[1] == width then ahead = math.max(0, number - parts[2]) end
  end
  local counts, totals = {report.passed + report.failed, report.failed, report.slow}, {0, 0, 0}
  local after = {}
  for i = 1, 3 * PARTS do
    local which = (i - 1) % 3 + 1
    local count = i > 3 * ahead and parts[2 + i - 3 * ahead] or 0
    if i <= 3 then count = math.min(MAX_COUNT, count + counts[i]) end
    after[i], totals[which] = count, totals[which] + count
  end
  return struct.pack(TALLIES, width, number, unpack(after)), totals[1], totals[2], totals[3]
end

local function probed(c)
  if report.failed > 0 or report.slow > 0 and report.slow_ppm > 0 then
    return opened(c, 4, report.passed + report.failed, report.failed, report.slow)
  end
  c.row = math.min(MAX_COUNT, c.row + report.passed)
  if c.row >= report.close_after then
    local after = unknown(c.generation + 1)
    after.since, after.reason = now, 6
    return after, c.row
  end
  for n, ends in ipairs(c.probes) do
    if ends == report.probe then
      table.remove(c.probes, n)
      break
    end
  end
  return c
end

local function closed(c)
  local row, tallies, calls, failed, slow = 0, '', 0, 0, 0
  if report.consecutive_failures > 0 then
    row = math.min(MAX_COUNT, (report.passed > 0 and 0 or c.row) + report.failed)
  end
  if report.failure_ppm + report.slow_ppm > 0 then tallies, calls, failed, slow = counted(c.tallies) end
  if report.consecutive_failures > 0 and row >= report.consecutive_failures then return opened(c, 1, row, row, 0) end
  if calls >= report.minimum_calls then
    if report.failure_ppm > 0 and failed * 1000000 >= report.failure_ppm * calls then
      return opened(c, 2, calls, failed, slow)
    end
    if report.slow_ppm > 0 and slow * 1000000 >= report.slow_ppm * calls then
      return opened(c, 3, calls, failed, slow)
    end
  end
  local known = now - c.since >= REMEMBERED and unknown(0) or c
  if known.generation == c.generation and row == c.row and tallies == c.tallies then return end
  known.row, known.tallies = row, tallies
  return known
end

for i = 1, #ARGV - 2 do
  local key = KEYS[i]
  local f = {struct.unpack(REPORT, ARGV[2 + i])}
  report = {
    window_us = f[1], minimum_calls = f[2], failure_ppm = f[3], slow_ppm = f[4], consecutive_failures = f[5],
    open_us = f[6], growth_milli = f[7], max_open_us = f[8], close_after = f[9],
    generation = f[10], probe = f[11], passed = f[12], failed = f[13], slow = f[14],
  }
  local c = load(redis.call('MGET', key)[1])
  local state, after, calls = c.state, nil, nil
  if report.generation == c.generation and c.ends <= now then
    if state == HALF_OPEN then
      after, calls = probed(c)
    elseif state == CLOSED and report.passed + report.failed > 0 then
      after = closed(c)
    end
  end
  if after then
    save(key, after, report.window_us)
    if after.state ~= state then
      local told = {i, after.state, after.reason, calls or after.calls, after.failed, after.slow, after.open}
      for _, number in ipairs(told) do changes[#changes + 1] = number end
      list(KEYS[#ARGV - 1], key, after.state ~= CLOSED and after.ends)
    end
  end
end
return changes
