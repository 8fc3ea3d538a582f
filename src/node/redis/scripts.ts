/**
 * The Lua scripts: each is one atomic step in Redis.
 *
 * A record is a hash: `j` is its JWE, `v` its version. A lock is a hash: `fence` is the number of its last holder; while it is
 * held, `owner` is that holder, `until` the end of its lease (ms since 1970, of the clock of Redis), `lease` its length in ms, `write` the number
 * of its last write.
 *
 * Versions and fences only grow, also when Redis was emptied meanwhile: each is at least the time in µs.
 */

const now = `
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local ms = math.floor(us / 1000)
local function after(former) return string.format('%.0f', math.max(us, (former or 0) + 1)) end`;

/** ARGV: owner, fence. Answers 0 when the lock has had another holder since. */
const whileHeld = (lock: string) => `
local held = redis.call('HMGET', ${lock}, 'owner', 'fence', 'write')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end`;

/** ARGV 3 is the lease, which begins anew. */
const renewed = (lock: string) => `
redis.call('HSET', ${lock}, 'until', ms + ARGV[3])`;

/** Sets KEYS[1] to a value that lives `ttl` ms, or deletes it where there is no value. */
const written = (value: string, ttl: string) => `
if ${value} == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'j', ${value}, 'v', after(redis.call('HGET', KEYS[1], 'v')))
  if ${ttl} == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ${ttl}) end
end
return 1`;

/** How long a free lock is remembered, in ms. Afterwards its next fence is the time, which is greater still. */
const dayMs = 86_400_000;

/**
 * KEYS: lock; ARGV: owner, lease. Answers the fence, or an empty text and how long the lock is still held, in ms.
 *
 * A lease that ended without a release is honoured once more where Redis was started meanwhile: its holder could not renew it.
 */
export const acquire = `${now}
local held = redis.call('HMGET', KEYS[1], 'owner', 'until', 'lease', 'fence')
if held[1] and held[1] ~= ARGV[1] then
  local left = held[2] - ms
  if left <= 0 then
    local up = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
    left = up and held[3] - up * 1000 or 0
  end
  if left > 0 then return {'', left} end
end
local fence = after(held[4])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', ms + ARGV[2], 'lease', ARGV[2], 'fence', fence, 'write', 0)
redis.call('PERSIST', KEYS[1])
return {fence, 0}`;

/** KEYS: lock; ARGV: owner, fence, lease. */
export const renew = `${now}${whileHeld("KEYS[1]")}${renewed("KEYS[1]")}
return 1`;

/** KEYS: lock; ARGV: owner. Also of a lock whose acquisition was not answered: its owner has not acquired it again. */
export const release = `
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'owner', 'until', 'lease')
redis.call('PEXPIRE', KEYS[1], ${dayMs})
return 1`;

/** KEYS: record; ARGV: value, ttl. */
export const write = `${now}${written("ARGV[1]", "ARGV[2]")}`;

/**
 * KEYS: record, its lock; ARGV: owner, fence, lease, number of the write, value, ttl. Renews the lock. A write that comes late, on a
 * connection that was given up, does nothing: one with its number, or a later one, is done.
 */
export const writeUnderLock = `${now}${whileHeld("KEYS[2]")}
if tonumber(held[3] or 0) >= tonumber(ARGV[4]) then return 1 end
redis.call('HSET', KEYS[2], 'write', ARGV[4])${renewed("KEYS[2]")}${written("ARGV[5]", "ARGV[6]")}`;

/**
 * KEYS: record, mark of the lock at this record; ARGV: fence, number of the write, value, ttl. Answers 0 when a later holder of the
 * lock has written it.
 */
export const writeWithFence = `${now}
local mark = redis.call('HMGET', KEYS[2], 'fence', 'write')
local fence = tonumber(mark[1] or 0)
if fence > tonumber(ARGV[1]) then return 0 end
if fence == tonumber(ARGV[1]) and tonumber(mark[2]) >= tonumber(ARGV[2]) then return 1 end
redis.call('HSET', KEYS[2], 'fence', ARGV[1], 'write', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ${dayMs})${written("ARGV[3]", "ARGV[4]")}`;

/** KEYS: record; ARGV: version, value. Replaces a record, or deletes it, if it has not changed. It lives as long as before. */
export const compareAndSet = `${now}
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'j', ARGV[2], 'v', after(ARGV[1])) end
return 1`;
