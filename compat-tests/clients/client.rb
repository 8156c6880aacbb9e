# redis-rb against Dynamis: client.rb single|cluster|failover host:port [host:port ...]
#
# `failover` prints "ready" once it has written every key, then waits for a line on standard input (by then a node has been killed), and
# writes and reads every key again. Every difference between what is expected and what came is printed; the exit code is the number
# of differences.

require 'redis'

mode, *addresses = ARGV
host, port = addresses[0].split(':')
open = lambda do
  next Redis.new(host: host, port: port.to_i) if mode == 'single'

  Redis.new(cluster: addresses.map { |address| "redis://#{address}" }, reconnect_attempts: 3, timeout: 2)
end
r = open.call
wrong = []
expect = ->(what, got, wanted) { wrong << "#{what}: expected #{wanted.inspect}, got #{got.inspect}" if got != wanted }
finish = lambda do
  puts(wrong.empty? ? 'ok' : wrong)
  exit([wrong.length, 100].min)
end

if mode == 'failover'
  keys = (0...200).map { |at| "rb:failover:#{at}" }
  keys.each { |key| r.set(key, 'before') }
  puts 'ready'
  $stdout.flush
  $stdin.gets
  gone = 0
  keys.each do |key|
    expect.("#{key} before", r.get(key), 'before')
    expect.("#{key} set", r.set(key, 'after'), 'OK')
    expect.("#{key} after", r.get(key), 'after')
  rescue Redis::CannotConnectError => e
    # redis-rb looks at CLUSTER SLOTS again, but only once it has told that a node is gone.
    (gone += 1) == 1 ? retry : wrong << "#{key}: #{e.message}"
  rescue Redis::BaseError => e
    wrong << "#{key}: #{e.class} #{e.message}"
  end
  finish.call
end

r.del('{rb}a', '{rb}b', '{rb}n')
expect.('set', r.set('{rb}a', '1'), 'OK')
expect.('set nx', r.set('{rb}a', '2', nx: true), false)
expect.('set ex', r.set('{rb}a', '3', ex: 100), 'OK')
expect.('ttl', r.ttl('{rb}a').between?(99, 100), true)
expect.('get', r.get('{rb}a'), '3')
expect.('setex', r.setex('{rb}b', 100, 'x'), 'OK')
expect.('mget', r.mget('{rb}a', '{rb}b', '{rb}none'), ['3', 'x', nil])
expect.('incr', [r.incr('{rb}n'), r.incrby('{rb}n', 9), r.decr('{rb}n')], [1, 10, 9])
expect.('append', r.append('{rb}b', 'y'), 2)
expect.('bits', [r.setbit('{rb}b', 0, 1), r.bitcount('{rb}b')], [0, 10])
expect.('pipeline', r.pipelined { |p| 100.times { |at| p.set("{rb}p:#{at}", at) }; p.get('{rb}p:7') }.last, '7')
expect.('multi', r.multi { |m| m.set('{rb}a', 'm'); m.get('{rb}a') }, ['OK', 'm'])
expect.('watch', r.watch('{rb}a') { r.set('{rb}a', 'other'); r.multi { |m| m.set('{rb}a', 'lost') } }, nil)
expect.('scan', r.scan_each(match: '{rb}p:*', count: 10).to_a.uniq.length, 100)
expect.('keys', r.keys('{rb}p:*').length, 100)
expect.('spread', (0...100).map { |at| r.set("rb:s:#{at}", at); r.get("rb:s:#{at}") }, (0...100).map(&:to_s))
finish.call if mode == 'cluster'

expect.('info', r.info('server')['redis_version'].start_with?('7.'), true)
expect.('config', r.config(:get, 'appendonly'), { 'appendonly' => 'yes' })
heard = Queue.new
listener = Thread.new do
  Redis.new(host: host, port: port.to_i).subscribe('rb:channel') do |on|
    on.subscribe { heard << :listening }
    on.message { |_, message| heard << message; Redis.new(host: host, port: port.to_i); Thread.exit }
  end
end
expect.('subscribe', heard.pop, :listening)
expect.('publish', r.publish('rb:channel', 'hello'), 1)
expect.('message', heard.pop, 'hello')
listener.join
begin
  r.call('LPUSH', 'rb:list', '1')
  wrong << 'LPUSH: expected an error'
rescue Redis::CommandError => e
  expect.('unknown command', e.message.start_with?("ERR unknown command 'LPUSH'"), true)
end
finish.call
