---- Circuit breakers: see gateway/core/guards/breaker.py -----------------------------------------------------------
--
-- A string: header, the probes that are out, and the tallies if the breaker counts rates.
-- header  format; quiet: 0 if there is nothing to tell a call; state; generation; since; ends: `until_us`; open: how
--         long it was last opened for; row: `in_a_row`; reason; calls, failed, slow; how many probes
-- tallies width, newest, then (calls, failed, slow) of each part, newest first: see gateway/core/guards/tallies.py
--
-- Beside them a sorted set lists the keys of all breakers that are not closed or held by an operator, by the time at
-- which they are forgotten if nobody asks them any more.
--
-- One function that makes the others, because most runs need none of them.

local CLOSED, OPEN, HALF_OPEN = 0, 1, 2
local CIRCUIT, CIRCUIT_BYTES = '>BBBI4I7I7I6I4BI4I4I4B', 45
local REMEMBERED = 3600 * 1000000

local function circuits()
  -- What a partition nobody knows is, or one that holds something else.
  local function unknown(generation)
    return {
      state = CLOSED, generation = generation, since = 0, ends = 0, open = 0, row = 0,
      reason = 0, calls = 0, failed = 0, slow = 0, probes = {}, tallies = '',
    }
  end

  local function load(packed)
    local c = unknown(0)
    if not packed or #packed < CIRCUIT_BYTES or string.byte(packed) ~= 0x51 then return c end
    local _, probes
    _, _, c.state, c.generation, c.since, c.ends, c.open, c.row, c.reason, c.calls, c.failed, c.slow, probes =
      struct.unpack(CIRCUIT, packed)
    for i = 1, probes do c.probes[i] = struct.unpack('>I7', packed, CIRCUIT_BYTES + 7 * i - 6) end
    c.tallies = string.sub(packed, CIRCUIT_BYTES + 7 * probes + 1)
    return c
  end

  local function save(key, c, window)
    local quiet = c.state == CLOSED and c.generation == 0 and c.row == 0
    if quiet and c.tallies == '' then return redis.call('DEL', key) end
    local lives = quiet and window or math.max(0, c.ends - now) + REMEMBERED
    local header = struct.pack(CIRCUIT, 0x51, quiet and 0 or 1, c.state, c.generation, c.since, c.ends, c.open, c.row,
      c.reason, c.calls, c.failed, c.slow, #c.probes)
    local probes = ''
    for _, ends in ipairs(c.probes) do probes = probes .. struct.pack('>I7', ends) end
    redis.call('SET', key, header .. probes .. c.tallies, 'PX', ttl_ms(lives))
  end

  -- `ends` as in the header; nil: it is closed. Without a key nothing is listed.
  local function list(key, member, ends)
    if not key then return end
    if not ends then return redis.call('ZREM', key, member) end
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    redis.call('ZADD', key, ends + REMEMBERED, member)
    redis.call('PEXPIRE', key, 32 * 24 * 3600 * 1000) -- longer than anything it lists
  end

  return unknown, load, save, list
end
