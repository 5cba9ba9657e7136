---- Guards that have something to say: see decide_call in gateway/core/decision.py ---------------------------------
--
-- Returns how every guard stands (six integers each, nil if nothing is known against the call), whether one holds the
-- call back, and function (): lets the call in and brings the standings up to date (nil if that changes nothing).

local GUARD, GUARD_BYTES = '>BI2I6I6', 15
local MAX_FORCED, FORCED = 30 * 24 * 3600 * 1000000, 7

local function stand(kept, skip, commit)
  local _, load, save = circuits()
  local standings, entering, held, news = {}, {}, false, false

  local function tell(i, state, wait, generation, probe, urgent, moved)
    local at = 6 * i - 6
    standings[at + 1], standings[at + 2], standings[at + 3] = state, wait, generation
    standings[at + 4], standings[at + 5], standings[at + 6] = probe, urgent and 1 or 0, moved and 1 or 0
    held = held or wait > 0
    news = news or state > 0 or generation > 0 or probe > 0 or urgent
  end

  local function pause(i, packed, longest)
    local ends, left, renews, latest = 0, 0, 0, now + longest
    if packed and string.byte(packed) == 0x61 then
      if #packed == 9 then _, _, ends = struct.unpack('>BBI7', packed) end
      if #packed == 20 then _, _, ends, left, renews = struct.unpack('>BBI7I4I7', packed) end
    end

    local function keep()
      local counted = renews > 0 and struct.pack('>I4I7', left, renews) or ''
      local lives = math.max(0, ends - now, renews - now)
      redis.call('SET', KEYS[skip + i], struct.pack('>BBI7', 0x61, 1, ends) .. counted, 'PX', ttl_ms(lives))
    end

    if ends > latest or renews > latest then -- the clock stepped back
      ends, renews = math.min(ends, latest), math.min(renews, latest)
      if commit then keep() end
    end
    local counting = renews > now
    local wait = math.max(0, ends - now, counting and left == 0 and renews - now or 0)
    local permit = counting and wait == 0 and left or 0
    tell(i, wait > 0 and OPEN or CLOSED, wait, 0, permit)
    if permit > 0 then
      entering[#entering + 1] = function()
        left = left - 1
        keep()
      end
    end
  end

  local function settle(c, furthest, latest)
    local settled = c.ends > furthest
    c.ends = math.min(c.ends, furthest)
    for n, ends in ipairs(c.probes) do
      if ends > latest then c.probes[n], settled = latest, true end
    end
    return settled
  end

  -- The probes that are out and not given up, and when the first of them will be.
  local function out(c)
    local probes, first = {}, math.huge
    for _, ends in ipairs(c.probes) do
      if ends > now then probes[#probes + 1], first = ends, math.min(first, ends) end
    end
    return probes, first
  end

  local function enter(i, c, probe_time)
    local moved = c.state == OPEN
    local probe, taken = now + probe_time, {}
    if moved then c.state, c.since, c.ends, c.generation = HALF_OPEN, now, 0, c.generation + 1 end
    c.probes = out(c)
    for _, ends in ipairs(c.probes) do taken[ends] = true end
    while taken[probe] do probe = probe + 1 end
    c.probes[#c.probes + 1] = probe
    save(KEYS[skip + i], c)
    tell(i, HALF_OPEN, 0, c.generation, probe, true, moved)
  end

  local function breaker(i, packed, most, probe_time, longest)
    local c, wait = load(packed), 0
    if settle(c, now + (c.reason == FORCED and MAX_FORCED or longest), now + probe_time + most) and commit then
      save(KEYS[skip + i], c)
    end
    if c.state == OPEN then
      wait = math.max(0, c.ends - now)
    elseif c.state == HALF_OPEN then
      local probes, first = out(c)
      if #probes >= most then wait = math.min(1000000, first - now) end
    end
    tell(i, c.state, wait, c.generation, 0, c.state == CLOSED and c.row > 0)
    if c.state ~= CLOSED then
      entering[#entering + 1] = function() enter(i, c, probe_time) end
    end
  end

  for i = 1, #ARGV[4] / GUARD_BYTES do
    local kind, most, probe_time, longest = struct.unpack(GUARD, ARGV[4], GUARD_BYTES * (i - 1) + 1)
    if kind == 2 then pause(i, kept[i], longest) else breaker(i, kept[i], most, probe_time, longest) end
  end
  return news and standings or nil, held, #entering > 0 and function()
    for _, let_in in ipairs(entering) do let_in() end
  end
end
