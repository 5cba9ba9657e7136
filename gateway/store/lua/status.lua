---- How connections are doing -----------------------------------------------------------------------------------------
--
-- Runs as one text behind clock.lua, connection_counts.lua and connection_state.lua.
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
--   report.shut       arrays: a breaker, age; as the next
--   report.through
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

local RETENTION_MS, MOST = 604800000, 20000
local MOST_DUE, MOST_FORGOTTEN = 32, 4
local LETTERS = {
  offline = 'a', auth_required = 'b', permission_denied = 'c', rate_limited = 'd', degraded = 'e', online = 'f'
}

local base = ARGV[3]
local transitions = {}

-- What is remembered -------------------------------------------------------------------------------

local function refusals(track)
  local names, array = {}, {}
  for name in pairs(track.shut or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    array[#array + 1] = name
    array[#array + 1] = track.shut[name]
  end
  return array
end

local function flat(track)
  local array = {
    track.tenant, track.connection, track.state, track.since_us, track.streak, track.answered_us, track.offline_us,
    track.recovered_us, track.denied, track.denied_us, track.denied_operation, track.denied_entity,
    track.limited_until_us, track.ok_weight, track.failed_weight, track.halved_us, track.success_us, track.failure,
    refusals(track)
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
    recovered_us = -1, denied = '', denied_us = -1, denied_operation = '', denied_entity = '', limited_until_us = 0,
    ok_weight = 0, failed_weight = 0, halved_us = now, success_us = -1, failure = {-1, '', 0, '', '', ''}, shut = {}, buckets = {}
  }
end

-- Takes a report in, or only the time that passed, and says so if the state is another one now.
local function update(member, track, report)
  local before, since = track.state, track.since_us
  make_good(track)
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
  'denied_operation', 'denied_entity', 'limited_us', 'shut', 'through', 'failure'
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
