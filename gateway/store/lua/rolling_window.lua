---- Rolling window: see gateway/core/algorithms/rolling_window.py --------------------------------------------------
--
-- A string: header, then a ring of `capacity` entries; `count` of them are in use, from `head` on.
-- entry   stamp, and the units charged before it modulo 2^32. Stamps are dates on a scale of the log's own, modulo
--         2^48: only differences matter, so making a clock step good is one new `newest`.
-- header  format; newest: date of the newest entry; quantum: what that was rounded up to; ends: when the key ends;
--         stamp: of the newest entry; total: units charged up to it; base: units before the oldest; capacity; head;
--         count; oldest: its stamp

local HEADER, HEADER_BYTES = '>BI7I6I7I6I4I4I4I4I4I6', 53
local ENTRY, ENTRY_BYTES = '>I6I4', 10
local STAMPS, UNITS = 2 ^ 48, 2 ^ 32

-- Two functions that most runs do not need.
local function logs()
  local function entry_at(key, slot)
    local at = HEADER_BYTES + slot * ENTRY_BYTES
    return struct.unpack(ENTRY, redis.call('GETRANGE', key, at, at + ENTRY_BYTES - 1))
  end

  -- Smallest index in [low, high) for which holds(index), else high; it holds for all after the first for which it
  -- does. Galloping, because the answer is nearly always among the first.
  local function search(low, high, holds)
    local step = 1
    while low < high do
      local probe = math.min(low + step - 1, high - 1)
      if holds(probe) then
        high = probe
        break
      end
      low, step = probe + 1, step * 2
    end
    while low < high do
      local probe = math.floor((low + high) / 2)
      if holds(probe) then high = probe else low = probe + 1 end
    end
    return high
  end

  return entry_at, search
end

local function charge_log(log, calls, commit)
  local _, used, more, stepped, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest, key, cost,
    quota, window, step = unpack(log, 1, 19)
  if calls then
    local dated, entry, entries = now + -now % step, nil, nil
    local added = used == 0 or dated > newest
    if used == 0 then
      ends, stamp, total, base, capacity, head, count, oldest = 0, 0, 0, 0, 0, 0, 0, 0
      newest, more = dated, dated + window - now
    end
    if dated >= newest then
      stamp, newest, quantum = (stamp + dated - newest) % STAMPS, dated, step
    end
    if added then entry, count = struct.pack(ENTRY, stamp, total), count + 1 end
    total, used = (total + calls * cost) % UNITS, used + calls * cost
    local ending = ends < newest + window
    if ending then ends = now + 2 * window end -- newest is at most one window ahead
    if count > capacity then -- full: twice as large, but no larger than it can ever have to be
      local ring = capacity > 0 and redis.call('GETRANGE', key, HEADER_BYTES, -1) or ''
      local cut = capacity > 0 and head * ENTRY_BYTES or 0
      entries = string.sub(ring, cut + 1) .. string.sub(ring, 1, cut) .. entry
      local most = math.max(count, math.min(quota, (window + -window % step) / step + 1))
      head, capacity = 0, math.min(most, math.max(4, 2 * capacity))
    end
    local header = struct.pack(HEADER, 0x11, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest)
    if entries then -- the whole string, exactly as long as its capacity asks: to append would double its memory
      local room = string.rep('\0', capacity * ENTRY_BYTES - #entries)
      redis.call('SET', key, header .. entries .. room, 'PX', ttl_ms(ends - now))
    else
      if added then
        redis.call('SETRANGE', key, HEADER_BYTES + (head + count - 1) % capacity * ENTRY_BYTES, entry)
      end
      redis.call('SETRANGE', key, '0', header)
      if ending then redis.call('PEXPIRE', key, ttl_ms(ends - now)) end
    end
  elseif commit and stepped then
    redis.call('SETRANGE', key, '1', struct.pack('>I7', newest))
  end
  if used == 0 then return quota, 0, 0 end
  return used < quota and quota - used or 0, newest + window - now, more
end

local function rolling_window(key, cost, quota, window, step)
  local _, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest
  local used, retry, more, stepped = 0, 0, 0, false

  local packed = read(key, '52', 53, 0x11)
  if packed then
    _, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest = struct.unpack(HEADER, packed)
    local latest = now + -now % quantum
    if newest > latest then newest, stepped = latest, true end
    local expired = newest + window - now -- an entry that is so much older than the newest does not count
    if expired > 0 then
      if (stamp - oldest) % STAMPS >= expired then
        local entry_at, search = logs()
        local first = search(1, count, function(index)
          local its_stamp, before = entry_at(key, (head + index) % capacity)
          if (stamp - its_stamp) % STAMPS >= expired then return false end
          oldest, base = its_stamp, before -- of the smallest index: that one is the last to be found
          return true
        end)
        head, count = (head + first) % capacity, count - first -- a charge forgets those that have expired
      end
      used, more = (total - base) % UNITS, expired - (stamp - oldest) % STAMPS
    end

    local excess = used + cost - quota
    if used > 0 and excess > 0 then retry = more end
    if used > 0 and excess > 1 then
      local entry_at, search = logs()
      local function until_back(units) -- how long until so many of the used ones are back
        local behind = search(1, count, function(index)
          local _, before = entry_at(key, (head + index) % capacity)
          return (before - base) % UNITS >= units
        end)
        return expired - (stamp - entry_at(key, (head + behind - 1) % capacity)) % STAMPS
      end
      retry = until_back(excess)
      if used > quota then more = until_back(used - quota + 1) end
    end
  end

  return retry, {
    charge_log, used, more, stepped, newest, quantum, ends, stamp, total, base, capacity, head, count, oldest, key, cost,
    quota, window, step
  }
end
