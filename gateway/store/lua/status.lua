---- How connections are doing: see gateway/core/connection_state.py and connection_counts.py ------------------------
--
-- All keys have one hash tag, so that one run may take in reports about many connections, and read any of them.
--
-- KEYS[1]  sorted set `seen`: member = connection, score = when a report about it last came, in microseconds
-- KEYS[2]  sorted set `states`: member = letter of the state and connection, so that a state is a range
-- KEYS[3]  sorted set `due`: member = connection, score = when its state ends by itself
-- KEYS[3 + i]  what is remembered of the i-th connection
--
-- ARGV[1]  op      report, find or page
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  base    what the names of the connections' keys begin with
-- report: ARGV[3 + i] is the i-th report as a JSON array:
--   report.member     names the connection: its key without `base`
--   report.tenant     for people, like the next
--   report.connection
--   report.rows       arrays: operation, entity, ok, rejected, failed, began_us, ended_us
--   report.failures   the others are as in `Report` of the core, "" for None
--   report.tail
--   report.answer_us
--   report.denied
--   report.denied_us
--   report.denied_operation
--   report.denied_entity
--   report.limited_us
--   report.shut_us
--   report.failure    array: age, error_class, status, request_id, operation, entity
-- find: ARGV[4] what the members looked for begin with
-- page: ARGV[4] letters of the states, ARGV[5] what the page before ended with or "", ARGV[6] how many
--
-- Reply, in arrays:
--   reply.now_us       the clock
--   reply.transitions  of each state that changed: the state before, since when, and the connection as it is now
--   reply.body         report: the state of each connection; find: connections; page: connections, each with the
--                      member of `states` that a next page would begin after
-- A connection is the array that `flat` makes.
--
-- Every key ends RETENTION_MS after the last report. At most MOST connections are remembered; the one that was silent
-- longest is forgotten first.

local SECOND, RETENTION_MS, MOST = 1000000, 604800000, 20000
local OFFLINE_FAILURES, OFFLINE_AFTER = 5, 10 * SECOND
local SAME, OTHER, HALF_LIFE = 5 * SECOND, 60 * SECOND, 60 * SECOND
local WEIGHT, LEAST_WEIGHT, ENTER_SHARE, LEAVE_SHARE = 1024, 512, 10, 20
local BUCKET, BUCKETS, MAX_ROWS = 60 * SECOND, 10, 32
local MOST_DUE, MOST_FORGOTTEN = 32, 4
local LETTERS = {
  offline = 'a', auth_required = 'b', permission_denied = 'c', rate_limited = 'd', degraded = 'e', online = 'f'
}

local base = ARGV[3]
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * SECOND + time[2]
end
local transitions = {}

-- Counts -------------------------------------------------------------------------------------------

local function count(buckets, rows)
  local kept, oldest = {}, math.floor(now / BUCKET) - BUCKETS
  for _, bucket in ipairs(buckets) do
    if bucket.number > oldest then kept[#kept + 1] = bucket end
  end
  for _, row in ipairs(rows) do
    local operation, entity, ok, rejected, failed = unpack(row)
    if ok + rejected + failed > 0 then
      local newest = kept[#kept]
      local number = math.max(math.floor(now / BUCKET), newest and newest.number or 0)
      if not newest or newest.number ~= number then
        newest = {number = number, size = 0, rows = {}}
        kept[#kept + 1] = newest
      end
      local pair = operation .. '\31' .. entity
      if not newest.rows[pair] and newest.size >= MAX_ROWS then pair = '(other)\31' end
      local counts = newest.rows[pair]
      if not counts then
        counts = {0, 0, 0}
        newest.rows[pair], newest.size = counts, newest.size + 1
      end
      counts[1], counts[2], counts[3] = counts[1] + ok, counts[2] + rejected, counts[3] + failed
    end
  end
  return kept
end

-- The state ----------------------------------------------------------------------------------------

local function halve(track)
  local halvings = math.floor((now - track.halved_us) / HALF_LIFE)
  if halvings > 0 then
    track.ok_weight = math.floor(track.ok_weight / 2 ^ halvings)
    track.failed_weight = math.floor(track.failed_weight / 2 ^ halvings)
    track.halved_us = track.halved_us + halvings * HALF_LIFE
  end
end

local function take_failures(track, report)
  local began = report.answer_us >= 0 and now - report.answer_us or -1
  track.streak = report.answer_us >= 0 and report.tail or track.streak + report.failures
  track.answered_us = math.max(track.answered_us, began)
  track.failed_weight = track.failed_weight + WEIGHT * report.failures
  if track.offline_us < 0 then
    local silent = now - track.answered_us >= OFFLINE_AFTER
    if report.shut_us >= 0 then
      track.offline_us = now - report.shut_us
    elseif report.failures > 0 and track.streak >= OFFLINE_FAILURES and silent then
      track.offline_us = now
    end
  end
  if track.offline_us >= 0 and track.offline_us < began then
    track.offline_us, track.ok_weight, track.failed_weight = -1, 0, WEIGHT * report.tail
  end
end

local function take_denial(track, report)
  if report.denied ~= '' and now - report.denied_us >= track.denied_us then
    track.denied, track.denied_us = report.denied, now - report.denied_us
    track.denied_operation, track.denied_entity = report.denied_operation, report.denied_entity
  end
  for _, row in ipairs(report.rows) do
    local same = row[1] == track.denied_operation and row[2] == track.denied_entity
    if row[3] > 0 and now - row[6] >= track.denied_us + (same and SAME or OTHER) then track.denied = '' end
  end
end

local function take_rest(track, report)
  if report.limited_us > 0 then
    track.limited_until_us = math.max(track.limited_until_us, now + report.limited_us)
  end
  for _, row in ipairs(report.rows) do
    track.ok_weight = track.ok_weight + WEIGHT * (row[3] + row[4])
    if row[3] > 0 then track.success_us = math.max(track.success_us, now - row[7]) end
  end
  local failure = report.failure
  if failure[1] >= 0 and now - failure[1] >= track.failure[1] then
    failure[1] = now - failure[1]
    track.failure = failure
  end
end

local function state_of(track)
  if track.offline_us >= 0 then return 'offline' end
  if track.denied ~= '' then return track.denied end
  if track.limited_until_us > now then return 'rate_limited' end
  local share, failed = track.state == 'degraded' and LEAVE_SHARE or ENTER_SHARE, track.failed_weight
  if failed >= LEAST_WEIGHT and failed * share >= failed + track.ok_weight then return 'degraded' end
  return 'online'
end

local function ends_by_itself(track)
  if track.state == 'rate_limited' then return track.limited_until_us end
  if track.state ~= 'degraded' then return -1 end
  local weight, halvings = track.failed_weight, 0
  while weight >= LEAST_WEIGHT do weight, halvings = weight / 2, halvings + 1 end
  return track.halved_us + halvings * HALF_LIFE
end

-- What is remembered -------------------------------------------------------------------------------

local function flat(track)
  local array = {
    track.tenant, track.connection, track.state, track.since_us, track.streak, track.answered_us, track.offline_us,
    track.denied, track.denied_us, track.denied_operation, track.denied_entity, track.limited_until_us,
    track.ok_weight, track.failed_weight, track.halved_us, track.success_us, track.failure
  }
  for _, bucket in ipairs(track.buckets) do
    local rows = {bucket.number}
    for pair, counts in pairs(bucket.rows) do
      local operation, entity = string.match(pair, '^(.-)\31(.*)$')
      for _, value in ipairs({operation, entity, counts[1], counts[2], counts[3]}) do rows[#rows + 1] = value end
    end
    array[#array + 1] = rows
  end
  return array
end

local function load(member)
  local packed = redis.call('GET', base .. member)
  return packed and cmsgpack.unpack(packed)
end

local function forget(member)
  redis.call('DEL', base .. member)
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZREM', KEYS[3], member)
  for _, letter in pairs(LETTERS) do redis.call('ZREM', KEYS[2], letter .. member) end
end

local function begin(member)
  forget(member) -- its key may have ended before its place in the sets
  redis.call('ZADD', KEYS[2], 0, LETTERS.online .. member)
  return {
    tenant = '', connection = '', state = 'online', since_us = now, streak = 0, answered_us = -1, offline_us = -1,
    denied = '', denied_us = -1, denied_operation = '', denied_entity = '', limited_until_us = 0, ok_weight = 0,
    failed_weight = 0, halved_us = now, success_us = -1, failure = {-1, '', 0, '', '', ''}, buckets = {}
  }
end

-- Takes a report in, or only the time that passed, and says so if the state is another one now.
local function update(member, track, report)
  local before, since = track.state, track.since_us
  halve(track)
  track.state = state_of(track)
  if report then
    take_failures(track, report)
    take_denial(track, report)
    take_rest(track, report)
  end
  track.buckets = count(track.buckets, report and report.rows or {})
  local state = state_of(track)
  track.state = state
  if state ~= before then
    track.since_us = now
    redis.call('ZREM', KEYS[2], LETTERS[before] .. member)
    redis.call('ZADD', KEYS[2], 0, LETTERS[state] .. member)
    transitions[#transitions + 1] = {before, since, flat(track)}
  end
  local ends = ends_by_itself(track)
  if ends >= 0 then
    redis.call('ZADD', KEYS[3], ends, member)
  elseif state ~= before or not report then
    redis.call('ZREM', KEYS[3], member)
  end
  if report then
    redis.call('SET', base .. member, cmsgpack.pack(track), 'PX', RETENTION_MS)
  else
    redis.call('SET', base .. member, cmsgpack.pack(track), 'KEEPTTL')
  end
end

local function settle_due()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, MOST_DUE)) do
    local track = load(member)
    if track then update(member, track) else forget(member) end
  end
end

local function forget_the_oldest()
  local beyond = redis.call('ZCARD', KEYS[1]) - MOST
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, MOST_FORGOTTEN - 1)) do
    local gone = tonumber(redis.call('ZSCORE', KEYS[1], member)) < now - RETENTION_MS * 1000
    if gone or beyond > 0 then forget(member) end
    beyond = beyond - 1
  end
end

-- The ops ------------------------------------------------------------------------------------------

local FIELDS = {
  'member', 'tenant', 'connection', 'rows', 'failures', 'tail', 'answer_us', 'denied', 'denied_us',
  'denied_operation', 'denied_entity', 'limited_us', 'shut_us', 'failure'
}

local function report_all()
  local states = {}
  for i = 4, #ARGV do
    local values, report = cjson.decode(ARGV[i]), {}
    for index, name in ipairs(FIELDS) do report[name] = values[index] end
    local member = report.member
    local track = load(member) or begin(member)
    track.tenant, track.connection = report.tenant, report.connection
    update(member, track, report)
    redis.call('ZADD', KEYS[1], now, member)
    states[#states + 1] = track.state
  end
  if #states > 0 then
    forget_the_oldest()
    for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], RETENTION_MS) end
  end
  return states
end

local function find_some(beginning)
  local found = {}
  for _, letter in pairs(LETTERS) do
    local first = '[' .. letter .. beginning
    for _, entry in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], first, first .. '\255', 'LIMIT', 0, 16)) do
      local track = load(string.sub(entry, 2))
      if track then found[#found + 1] = flat(track) end
    end
  end
  return found
end

local function read_page(letters, after, most)
  local page = {}
  for letter in string.gmatch(letters, '.') do
    local first = after > letter and '(' .. after or '[' .. letter
    local last = '(' .. string.char(string.byte(letter) + 1)
    while #page < most and string.sub(first, 2) < string.sub(last, 2) do
      local entries = redis.call('ZRANGEBYLEX', KEYS[2], first, last, 'LIMIT', 0, most - #page)
      if #entries == 0 then break end
      for _, entry in ipairs(entries) do
        local member = string.sub(entry, 2)
        local track = load(member)
        if track then page[#page + 1] = {entry, flat(track)} else forget(member) end
        first = '(' .. entry
      end
    end
  end
  return page
end

settle_due()
local body
if ARGV[1] == 'report' then
  body = report_all()
elseif ARGV[1] == 'find' then
  body = find_some(ARGV[4])
else
  body = read_page(ARGV[4], ARGV[5], tonumber(ARGV[6]))
end
return {now, transitions, body}
