<?php
// phpredis against Dynamis: client.php single|cluster|failover host:port [host:port ...]
//
// Commands, a pipeline, a transaction and PHP's own sessions, on one node or through RedisCluster. `failover` prints "ready" once
// it has written every key, then waits for a line on standard input (by then a node has been killed), and writes and reads every
// key again, and a session. Every difference between what is expected and what came is printed; the exit code is their number.

ob_start(); // Sessions are not begun once something was printed.
$wrong = [];

function expect(string $what, mixed $got, mixed $wanted): void {
    global $wrong;
    if ($got !== $wanted) {
        $wrong[] = "$what: expected " . json_encode($wanted) . ', got ' . json_encode($got);
    }
}

function commands(Redis|RedisCluster $r): void {
    [$a, $b, $n, $none] = ['{php}a', '{php}b', '{php}n', '{php}none'];
    $r->del($a, $b, $n);
    expect('get of nothing', $r->get($a), false);
    expect('set', $r->set($a, '1'), true);
    expect('set nx', $r->set($a, '2', ['nx', 'ex' => 100]), false);
    expect('set xx', $r->set($a, '3', ['xx', 'ex' => 100]), true);
    $ttl = $r->ttl($a);
    expect('ttl', $ttl >= 99 && $ttl <= 100, true);
    expect('persist', $r->persist($a), true);
    expect('expire', $r->expire($a, 50), true);
    expect('setex', $r->setex($b, 100, 'x'), true);
    expect('setnx', $r->setnx($b, 'y'), false);
    expect('mget', $r->mget([$a, $b, $none]), ['3', 'x', false]);
    expect('mset', $r->mset([$a => '1', $b => '2']), true);
    expect('exists', $r->exists($a, $b, $none), 2);
    expect('strlen', $r->strlen($a), 1);
    expect('getset', $r->getSet($a, '5'), '1');
    expect('incr', [$r->incr($n), $r->incrBy($n, 41), $r->decr($n), $r->incrByFloat($n, 0.5)], [1, 42, 41, 41.5]);
    expect('append', [$r->append($b, 'yz'), $r->getRange($b, 0, 1)], [3, '2y']);
    expect('bits', [$r->setBit($b, 0, true), $r->getBit($b, 0)], [0, 1]);
    expect('rename', [$r->rename($a, $none), $r->get($none)], [true, '5']);
    expect('del', $r->del([$b, $n, $none]), 3);
    $bytes = implode('', array_map('chr', range(0, 255)));
    expect('binary', [$r->set('php:bin', $bytes), $r->get('php:bin') === $bytes], [true, true]);
    $transaction = $r->multi();
    $transaction->set($a, 'm');
    $transaction->get($a);
    expect('multi', $transaction->exec(), [true, 'm']);
    $r->watch($a);
    $r->set($a, 'touched by itself');
    $refused = $r instanceof RedisCluster ? [false] : false; // RedisCluster gives one for each node that took part.
    expect('a touched key', $r->multi()->set($a, 'lost')->exec(), $refused);
    expect('what was watched', $r->get($a), 'touched by itself');
    for ($at = 0; $at < 100; $at++) {
        $r->set("php:many:$at", $at);
    }
    expect('keys', count($r->keys('php:many:*')), 100);
}

function single(string $address): void {
    [$host, $port] = explode(':', $address);
    $r = new Redis();
    $r->connect($host, (int) $port, 5);
    expect('ping', $r->ping(), true);
    commands($r);
    $pipeline = $r->pipeline();
    for ($at = 0; $at < 100; $at++) {
        $pipeline->set("php:many:$at", $at);
        $pipeline->get("php:many:$at");
    }
    expect('pipeline', array_slice($pipeline->exec(), -2), [true, '99']);
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    [$cursor, $found] = [null, []];
    while (($page = $r->scan($cursor, 'php:many:*', 10)) !== false) {
        $found = array_merge($found, $page);
    }
    expect('scan', count(array_unique($found)), 100);
    expect('info', str_starts_with($r->info('server')['redis_version'], '7.'), true);
    expect('config', $r->config('GET', 'appendonly'), ['appendonly' => 'yes']);
    [$context, $values] = siblings($r->rawCommand(...));
    expect('siblings', $values, ['one', 'two']);
    $r->rawCommand('DYN.SET', 'php:dyn', 'merged', 'CONTEXT', $context);
    expect('merged', $r->rawCommand('DYN.GET', 'php:dyn')[1], ['merged']);
    expect('unknown command', [$r->rawCommand('NOSUCH'), str_starts_with($r->getLastError(), "ERR unknown command 'NOSUCH'")], [false, true]);
    $r->select(3);
    expect('databases', $r->get('php:many:1'), false);
    sessions('redis', "tcp://$address?database=2");
}

function siblings(callable $raw): array {
    $raw('DEL', 'php:dyn');
    $raw('DYN.SET', 'php:dyn', 'one');
    $raw('DYN.SET', 'php:dyn', 'two');
    [$context, $values] = $raw('DYN.GET', 'php:dyn');
    sort($values);
    return [$context, $values];
}

function cluster(array $addresses): void {
    $r = new RedisCluster(null, $addresses, 5, 5);
    expect('masters', count($r->_masters()), count($addresses));
    commands($r);
    $found = [];
    $r->setOption(RedisCluster::OPT_SCAN, RedisCluster::SCAN_RETRY);
    foreach ($r->_masters() as $master) {
        $cursor = null;
        while (($page = $r->scan($cursor, $master, 'php:many:*', 10)) !== false) {
            $found = array_merge($found, $page);
        }
    }
    expect('scan of all nodes', [count($found), count(array_unique($found))], [100, 100]);
    [, $values] = siblings(fn (...$words) => $r->rawCommand('php:dyn', ...$words));
    expect('siblings', $values, ['one', 'two']);
    clustered_sessions($addresses);
}

function clustered_sessions(array $addresses): void {
    $seeds = implode('&', array_map(fn ($address) => "seed[]=$address", $addresses));
    sessions('rediscluster', "$seeds&timeout=5&read_timeout=5&failover=error");
}

// A visitor comes back, and leaves.
function sessions(string $handler, string $path): void {
    ini_set('session.save_handler', $handler);
    ini_set('session.save_path', $path);
    ini_set('session.use_cookies', '0');
    $id = 'php' . bin2hex(random_bytes(8));
    $visit = function (callable $does) use ($id) {
        session_id($id);
        expect('a session begins', session_start(), true);
        $got = $does();
        session_write_close();
        $_SESSION = [];
        return $got;
    };
    $count = fn () => $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
    expect("$handler sessions", [$visit($count), $visit($count), $visit($count)], [1, 2, 3]);
    $visit(fn () => session_destroy());
    expect("a $handler session that was left", $visit($count), 1);
}

function failover(array $addresses): void {
    global $wrong;
    $r = new RedisCluster(null, $addresses, 2, 2);
    $keys = array_map(fn ($at) => "php:failover:$at", range(0, 199));
    foreach ($keys as $key) {
        $r->set($key, 'before');
    }
    fwrite(STDOUT, "ready\n");
    fgets(STDIN);
    foreach ($keys as $key) {
        try {
            expect("$key before", $r->get($key), 'before');
            expect("$key set", $r->set($key, 'after'), true);
            expect("$key after", $r->get($key), 'after');
        } catch (RedisException | RedisClusterException $error) {
            $wrong[] = "$key: {$error->getMessage()}";
        }
    }
    clustered_sessions($addresses);
}

[$mode, $addresses] = [$argv[1], array_slice($argv, 2)];
match ($mode) {
    'single' => single($addresses[0]),
    'cluster' => cluster($addresses),
    'failover' => failover($addresses),
};
ob_end_flush();
echo implode("\n", $wrong ?: ['ok']), "\n";
exit(min(count($wrong), 100));
