---- Rolling window: see gateway/core/algorithms/rolling_window.py --------------------------------------------------
--
-- A string: header, then a ring of `capacity` entries, `count` of them in use from `head` on.
-- entry  stamp (6 bytes), units charged before it, modulo 2^32 (4 bytes). Stamps are dates on a scale of the log's
--        own, modulo 2^48: only differences matter. So a clock step is one new `newest`.
-- header format, newest (date of the newest entry), quantum (its rounding), expires (when the key ends), stamp (of the
--        newest entry), total (units charged up to it), base (units before the oldest), capacity, head, count, oldest
--        (stamp)
-- `first` is the index, counted from head, of the oldest entry that still counts; at `charge` the ones before it go.

local LOG, LOG_BYTES, LOG_LAST, LOG_FORMAT = '>BI7I6I7I6I4I4I4I4I4I6', 53, '52', 17
local ENTRY, ENTRY_BYTES, FIRST_CAPACITY = '>I6I4', 10, 4
local STAMPS, UNITS = 2 ^ 48, 2 ^ 32

-- Stamp of the index-th entry, and the units charged before it.
local function log_entry(log, index)
  if index == 0 then return log.oldest, log.base end
  local at = LOG_BYTES + (log.head + index) % log.capacity * ENTRY_BYTES
  return unpack(ENTRY, call('GETRANGE', log.key, at, at + ENTRY_BYTES - 1))
end

-- Smallest index from low on for which holds(stamp, before) is true, else count; true stays true as the index grows.
-- Galloping, because the answer is nearly always among the first.
local function log_search(log, low, holds)
  local high, step = log.count, 1
  while low < high do
    local probe = min(low + step - 1, high - 1)
    if holds(log_entry(log, probe)) then
      high = probe
      break
    end
    low, step = probe + 1, step * 2
  end
  while low < high do
    local probe = floor((low + high) / 2)
    if holds(log_entry(log, probe)) then high = probe else low = probe + 1 end
  end
  return high
end

-- How long until `units` of the units in use are back.
local function log_freed_us(log, units)
  local stamp = log.first_stamp
  if units > 1 then
    local kept = log.used - units
    local last = log_search(log, log.first + 1, function(_, before)
      return (log.total - before) % UNITS <= kept
    end) - 1
    if last > log.first then stamp = log_entry(log, last) end
  end
  return log.newest - (log.stamp - stamp) % STAMPS + log.window - now
end

-- Sets first, its stamp and the units before it.
local function log_find_first(log, expired_lag)
  log.first = log_search(log, 1, function(stamp, before)
    if (log.stamp - stamp) % STAMPS >= expired_lag then return false end
    log.first_stamp, log.first_base = stamp, before -- the last one for which this holds is the smallest
    return true
  end)
end

local function log_look(key, cost, quota, window, step)
  local packed = pcall('GETRANGE', key, '0', LOG_LAST)
  if type(packed) == 'table' then packed = foreign(packed) end
  if #packed < LOG_BYTES or byte(packed) ~= LOG_FORMAT then
    return {key = key, cost = cost, quota = quota, window = window, step = step, used = 0, retry = 0}
  end
  local _, newest, quantum, expires, stamp, total, base, capacity, head, count, oldest = unpack(LOG, packed)
  local latest = ceil_div(now, quantum) * quantum
  local log = {
    key = key, cost = cost, quota = quota, window = window, step = step, used = 0, retry = 0, stepped = newest > latest,
    newest = min(newest, latest), quantum = quantum, expires = expires, stamp = stamp, total = total, base = base,
    capacity = capacity, head = head, count = count, oldest = oldest, first = 0, first_stamp = oldest, first_base = base,
  }
  local expired_lag = log.newest + window - now -- an entry so much older than the newest is expired
  if expired_lag <= 0 then return log end
  if (stamp - oldest) % STAMPS >= expired_lag then log_find_first(log, expired_lag) end
  log.used = (total - log.first_base) % UNITS
  local excess = log.used + cost - quota
  if excess > 0 then log.retry = log_freed_us(log, excess) end
  return log
end

local function log_present(log)
  if log.used == 0 then return log.quota, 0, 0 end
  local over = max(0, log.used - log.quota)
  return max(0, log.quota - log.used), log.newest + log.window - now, log_freed_us(log, over + 1)
end

-- The header; for a log that only has to be settled it differs from the stored one in `newest`.
local function log_header(log)
  return pack(LOG, LOG_FORMAT, log.newest, log.quantum, log.expires, log.stamp, log.total, log.base,
    log.capacity, log.head, log.count, log.oldest)
end

local function log_settle(log)
  call('SETRANGE', log.key, '0', log_header(log))
end

-- Sets when the key ends, and returns in how many milliseconds that is. Long enough to be left alone for a window.
local function log_live_on(log)
  local us = max(2 * log.window, log.newest + log.window - now)
  log.expires = now + us
  return ttl_ms(us)
end

-- Writes the whole string, exactly as long as its capacity asks: appending to it would double its memory.
local function log_rewrite(log, entries)
  log.head = 0
  local ttl = log_live_on(log)
  local room = string.rep('\0', log.capacity * ENTRY_BYTES - #entries)
  call('SET', log.key, log_header(log) .. entries .. room, 'PX', ttl)
end

local function log_most_entries(log)
  return min(log.quota, ceil_div(log.window, log.step) + 1)
end

local function log_begin(log, dated)
  log.newest, log.quantum, log.stamp, log.total, log.base, log.used = dated, log.step, 0, log.cost, 0, log.cost
  log.capacity, log.count, log.oldest = min(FIRST_CAPACITY, log_most_entries(log)), 1, 0
  log.first, log.first_stamp, log.first_base = 0, 0, 0
  log_rewrite(log, pack(ENTRY, 0, 0))
end

-- Doubles the ring, or makes it as large as it can ever have to be. The entries are put in order on the way.
local function log_grow(log, added)
  local ring = call('GETRANGE', log.key, LOG_BYTES, '-1')
  local split = log.head * ENTRY_BYTES
  local most = log_most_entries(log)
  log.capacity = 2 * log.capacity
  if log.count <= most then log.capacity = min(log.capacity, most) end
  log_rewrite(log, string.sub(ring, split + 1) .. string.sub(ring, 1, split) .. added)
end

local function log_charge(log)
  local dated = ceil_div(now, log.step) * log.step
  if log.used == 0 then return log_begin(log, dated) end
  log.head, log.count = (log.head + log.first) % log.capacity, log.count - log.first
  log.first, log.oldest, log.base = 0, log.first_stamp, log.first_base
  if dated >= log.newest then log.quantum = log.step end
  if dated > log.newest then
    log.stamp, log.newest = (log.stamp + dated - log.newest) % STAMPS, dated
    local added = pack(ENTRY, log.stamp, log.total)
    log.count = log.count + 1
    log.total, log.used = (log.total + log.cost) % UNITS, log.used + log.cost
    if log.count > log.capacity then return log_grow(log, added) end
    call('SETRANGE', log.key, LOG_BYTES + (log.head + log.count - 1) % log.capacity * ENTRY_BYTES, added)
  else
    log.total, log.used = (log.total + log.cost) % UNITS, log.used + log.cost
  end
  if log.expires < log.newest + log.window then call('PEXPIRE', log.key, log_live_on(log)) end
  call('SETRANGE', log.key, '0', log_header(log))
end
