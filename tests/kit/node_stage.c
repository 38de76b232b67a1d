/* See node_stage.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/kit/node_stage.h"

#include <base/log.h>
#include <base/text.h>

#include "proto/io/clock.h"
#include "proto/io/sign_openssl.h"
#include "proto/site.h"

static const char zone[] = "$ORIGIN mail.test.\n$TTL 60\n"
                           "@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n"
                           "d1 MX 10 mx1\nmx1 A 127.60.0.1\n"
                           "dead MX 10 mx2\nmx2 A 127.60.0.2\n"
                           "blocking MX 10 mx3\nmx3 A 127.60.0.3\n";

/* ---------------------------------------------------------------- setting the stage */

static void write_file(const char *path, const char *text, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* A program of the same build: `path` counts from where everything was built. */
static void build_path(char *out, size_t n, const char *path) {
    ssize_t got = readlink("/proc/self/exe", out, n - 64);
    assert_true(got > 0);
    out[got] = 0;
    for (int up = 0; up < 3; up++) /* tests/contract/test_... */
        *strrchr(out, '/') = 0;
    rmd_copy(out + strlen(out), n - strlen(out), path);
}

int stage_port(void) {
    static int port;
    if (!port)
        port = 10240 + (int)(getpid() % 20000);
    return port;
}

static void start_receivers(struct stage *s) {
    char config[96], path[4096], text[512], ready[8] = "";
    build_path(path, sizeof path, "/tests/receivers/remuda-receivers");
    rmd_format(config, sizeof config, "%s/receivers.conf", s->dir);
    rmd_format(s->log, sizeof s->log, "%s/transcript", s->dir);
    rmd_format(
        text, sizeof text,
        "provider p1 {\n listen = 127.60.0.1:%d\n domains = d1.mail.test\n host = mx1.mail.test\n starttls = on\n"
        " unknown_users = gone*\n}\n"
        "provider p2 {\n listen = 127.60.0.3:%d\n domains = blocking.mail.test\n host = mx3.mail.test\n"
        " block = 127.61.0.1 mail 550 5.7.1 Unfortunately, messages from [%%ip] weren't sent. Please contact your "
        "Internet service provider since part of their network is on our block list (S3150).\n}\n",
        stage_port(), stage_port());
    write_file(config, text, 0600);
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    s->receivers = fork();
    if (s->receivers == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd[1], STDOUT_FILENO);
        close(fd[0]);
        execl(path, path, "--config", config, "--log", s->log, (char *)NULL);
        _exit(127);
    }
    close(fd[1]);
    struct pollfd p = {.fd = fd[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, STAGE_PATIENCE_MS), 1);
    assert_true(read(fd[0], ready, 5) == 5 && memcmp(ready, "ready", 5) == 0);
    close(fd[0]);
}

static void compile_template(struct stage *s) {
    Remuda__CompiledTemplate t = REMUDA__COMPILED_TEMPLATE__INIT;
    char columns[] = "email", subject[] = "Subject", hello[] = "Hello", from[] = "From",
         sender[] = "news@sender.test";
    char body[] = "Good morning.\r\n", *column = columns;
    Remuda__Piece p1 = REMUDA__PIECE__INIT, p2 = REMUDA__PIECE__INIT, *v1 = &p1, *v2 = &p2;
    Remuda__Mailbox mailbox = REMUDA__MAILBOX__INIT, *mailboxes = &mailbox;
    Remuda__TemplateHeader h1 = REMUDA__TEMPLATE_HEADER__INIT, h2 = REMUDA__TEMPLATE_HEADER__INIT,
                           *headers[] = {&h1, &h2};
    Remuda__BodyOp op = REMUDA__BODY_OP__INIT, *ops = &op;
    p1.literal = (ProtobufCBinaryData){5, (uint8_t *)hello};
    p2.literal = (ProtobufCBinaryData){strlen(sender), (uint8_t *)sender};
    h1.name = subject;
    h1.n_value = 1;
    h1.value = &v1;
    mailbox.n_address = 1;
    mailbox.address = &v2;
    h2.name = from;
    h2.structured = true;
    h2.n_mailbox = 1;
    h2.mailbox = &mailboxes;
    op.ready = (ProtobufCBinaryData){strlen(body), (uint8_t *)body};
    t.version = 1;
    t.n_column = 1;
    t.column = &column;
    t.n_header = 2;
    t.header = headers;
    t.n_body = 1;
    t.body = &ops;
    rmd_pb_encode(&t, &s->template);
    struct rmd_sha256 h;
    rmd_sign_openssl()->sha256_init(&h);
    rmd_sign_openssl()->sha256_update(&h, s->template.p, s->template.len);
    rmd_sign_openssl()->sha256_final(&h, s->hash);
}

static bool allow(void *ctx, const uint8_t key[RMD_KEY_BYTES]) {
    return memcmp(((struct stage *)ctx)->node_public, key, RMD_KEY_BYTES) == 0;
}

static void *run_node(void *arg) {
    struct stage *s = arg;
    struct rmd_buf err = {0};
    struct rmd_node_shell *shell = rmd_node_shell_open(&s->config, &s->keys, &err);
    if (!shell) {
        rmd_error("test", "%s", rmd_buf_str(&err));
        s->exit_code = -1;
        rmd_buf_release(&err);
        return NULL;
    }
    s->exit_code = rmd_node_shell_run(shell);
    rmd_node_shell_close(shell);
    return NULL;
}

static void write_config(struct stage *s) {
    char path[96], secret[96], key[41], err[200], text[1024];
    rmd_format(path, sizeof path, "%s/node.conf", s->dir);
    rmd_format(secret, sizeof secret, "%s/node.key", s->dir);
    rmd_curve_format(s->keys.coordinator, key);
    assert_int_equal(rmd_curve_write_file(secret, true, s->keys.secret, err, sizeof err), RMD_OK);
    rmd_format(
        text, sizeof text,
        "data = \"%s/node\";\nworkers = 2;\n"
        "bus { coordinator = \"ipc://%s/bus\"; coordinator_key = '%s'; secret_key = node.key; }\n"
        "dns { servers = [\"%s\"]; timeout = 500ms; tries = 2; }\nsmtp { idle_close = 50ms; connect_timeout = 2s; }\n"
        "log { level = warning }\n",
        s->dir, s->dir, key, rmd_dns_server_address(s->dns));
    write_file(path, text, 0600);
}

void stage_node_thread(struct stage *s) {
    char path[96], why[400];
    struct rmd_buf err = {0};
    rmd_format(path, sizeof path, "%s/node.conf", s->dir);
    int rc = rmd_node_config_load(path, RMD_NODE_CONFIG_RUN, &s->config, &err);
    if (rc)
        print_error("%s", rmd_buf_str(&err));
    assert_int_equal(rc, RMD_OK);
    rmd_buf_release(&err);
    assert_int_equal(rmd_node_config_keys(&s->config, &s->keys, why, sizeof why), RMD_OK);
    assert_int_equal(pthread_create(&s->thread, NULL, run_node, s), 0);
}

void stage_node_child(struct stage *s, const char *probe) {
    char program[4096], config[96];
    build_path(program, sizeof program, "/remuda-node");
    rmd_format(config, sizeof config, "%s/node.conf", s->dir);
    s->node = fork();
    if (s->node == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (probe)
            setenv("REMUDA_PROBE", probe, 1);
        execl(program, program, "--config", config, (char *)NULL);
        _exit(127);
    }
    assert_true(s->node > 0);
}

void stage_set(struct stage *s) {
    *s = (struct stage){.exit_code = -2};
    rmd_format(s->dir, sizeof s->dir, "/tmp/remuda-node-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    char err[400] = "";
    struct rmd_dns_zone z = {"mail.test", zone};
    int rc = rmd_dns_server_start(&z, 1, &s->dns, err, sizeof err);
    if (rc)
        print_error("%s\n", err);
    assert_int_equal(rc, RMD_OK);
    start_receivers(s);
    compile_template(s);
    uint8_t secret[RMD_KEY_BYTES];
    char endpoint[100];
    rmd_format(endpoint, sizeof endpoint, "ipc://%s/bus", s->dir);
    const char *endpoints[] = {endpoint, NULL};
    assert_int_equal(rmd_curve_generate(s->keys.coordinator, secret), RMD_OK);
    assert_int_equal(rmd_curve_generate(s->node_public, s->keys.secret), RMD_OK);
    struct rmd_bus_server_options o = {.endpoint = endpoints, .allow = allow, .allow_ctx = s};
    memcpy(o.secret_key, secret, sizeof secret);
    rc = rmd_bus_server_open(&o, &s->bus, err, sizeof err);
    if (rc)
        print_error("%s\n", err);
    assert_int_equal(rc, RMD_OK);
    write_config(s);
}

void stage_clear(struct stage *s) {
    rmd_bus_server_close(s->bus);
    kill(s->receivers, SIGTERM);
    waitpid(s->receivers, NULL, 0);
    rmd_dns_server_stop(s->dns);
    rmd_config_release(rmd_node_config_rows, &s->config);
    rmd_buf_release(&s->template);
    rmd_arena_release(&s->arena);
    pid_t p = fork();
    if (p == 0) {
        execlp("rm", "rm", "-rf", s->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(p, NULL, 0);
}

/* ---------------------------------------------------------------- the coordinator */

void stage_say(struct stage *s, Remuda__Frame__BodyCase body, void *message) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    struct rmd_buf b = {0};
    f.epoch = 1;
    f.body_case = body;
    f.hello = message;
    rmd_frame_encode(&f, &b);
    int rc = rmd_bus_server_send(s->bus, &s->peer, rmd_buf_slice(&b));
    assert_true(rc == RMD_OK || (rc == RMD_ECLOSED && s->node)); /* a child may just have been killed */
    rmd_buf_release(&b);
}

static void welcome(struct stage *s, const Remuda__Hello *h) {
    Remuda__SourcePolicy one = REMUDA__SOURCE_POLICY__INIT, two = REMUDA__SOURCE_POLICY__INIT,
                         *sources[] = {&one, &two};
    Remuda__StreamPolicy stream = REMUDA__STREAM_POLICY__INIT, *streams = &stream;
    Remuda__ProviderPolicy other = REMUDA__PROVIDER_POLICY__INIT, *providers = &other;
    Remuda__Policy p = REMUDA__POLICY__INIT;
    Remuda__Welcome w = REMUDA__WELCOME__INIT;
    char a1[] = "127.61.0.1", a2[] = "192.0.2.77", helo[] = "out.sender.test", bulk[] = "bulk",
         domain[] = "sender.test";
    char back[] = "bounce.sender.test", name[] = "other", special[] = "127.0.0.0/8", *specials = special,
         canon[] = "relaxed/relaxed";
    one.id = 1;
    one.bind = one.public_address = a1;
    two.id = 2;
    two.bind = two.public_address = a2;
    one.helo = two.helo = helo;
    stream.id = 1;
    stream.tenant = 1;
    stream.name = bulk;
    stream.sending_domain = domain;
    stream.return_domain = back;
    stream.verp_secret = (ProtobufCBinaryData){4, (uint8_t *)bulk};
    stream.canonicalization = canon;
    other.id = rmd_provider_id(name);
    other.name = name;
    other.connections = 4;
    other.connections_per_site = 4;
    other.messages_per_connection = 100;
    p.revision = 1;
    p.n_source = 2;
    p.source = sources;
    p.n_stream = 1;
    p.stream = &streams;
    p.n_provider = 1;
    p.provider = &providers;
    p.transaction_deadline_ms = 10000;
    p.n_allow_special = 1;
    p.allow_special = &specials;
    p.smtp_port = stage_port();
    p.starttls = true;
    w.version = 1;
    w.node_id = 1;
    w.echo_mono_ms = h->node_mono_ms;
    w.lease_valid_ms = 60000;
    w.policy = &p;
    w.lease_live = h->lease_id;
    w.n_lease_live = h->n_lease_id;
    stage_say(s, REMUDA__FRAME__BODY_WELCOME, &w);
}

static void serve_template(struct stage *s, const Remuda__Fetch *f) {
    Remuda__Template t = REMUDA__TEMPLATE__INIT;
    t.template_hash = f->template_hash;
    t.offset = f->offset;
    t.size = s->template.len;
    t.data = (ProtobufCBinaryData){s->template.len - f->offset, s->template.p + f->offset};
    stage_say(s, REMUDA__FRAME__BODY_TEMPLATE, &t);
}

static void take_report(struct stage *s, const Remuda__Report *r) {
    Remuda__ReportAck a = REMUDA__REPORT_ACK__INIT;
    memcpy(s->uuid, r->journal_uuid.data, sizeof s->uuid);
    for (size_t i = 0; i < r->n_outcome; i++) {
        uint64_t n = r->first_n + i;
        if (n <= s->last_n)
            continue;
        assert_int_equal(n, s->last_n + 1);
        s->last_n = n;
        assert_true(r->outcome[i]->kind < 6);
        s->kinds[r->outcome[i]->kind]++;
        s->tls += r->outcome[i]->tls;
    }
    if (s->deaf)
        return;
    a.journal_uuid = r->journal_uuid;
    a.up_to_n = s->last_n;
    stage_say(s, REMUDA__FRAME__BODY_REPORT_ACK, &a);
}

static void take(struct stage *s, const Remuda__Frame *f) {
    Remuda__HeartbeatEcho echo = REMUDA__HEARTBEAT_ECHO__INIT;
    Remuda__RecalledAck ack = REMUDA__RECALLED_ACK__INIT;
    Remuda__AlarmAck alarm_ack = REMUDA__ALARM_ACK__INIT;
    Remuda__TlsReportAck tls_ack = REMUDA__TLS_REPORT_ACK__INIT;
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_HELLO:
        s->hellos++;
        s->hello_alarms = (unsigned)f->hello->n_alarm;
        welcome(s, f->hello);
        break;
    case REMUDA__FRAME__BODY_HEARTBEAT:
        echo.echo_mono_ms = f->heartbeat->node_mono_ms;
        echo.lease_valid_ms = 60000;
        stage_say(s, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &echo);
        if (*f->heartbeat->trouble)
            rmd_copy(s->trouble, sizeof s->trouble, f->heartbeat->trouble);
        for (size_t i = 0; i < f->heartbeat->n_source; i++)
            if (*f->heartbeat->source[i]->text)
                rmd_copy(s->trouble, sizeof s->trouble, f->heartbeat->source[i]->text);
        break;
    case REMUDA__FRAME__BODY_FETCH:
        s->fetches++;
        if (!s->mute_templates)
            serve_template(s, f->fetch);
        break;
    case REMUDA__FRAME__BODY_LEASE_ACK:
        s->lease_acks += f->lease_ack->id != 0;
        break;
    case REMUDA__FRAME__BODY_REPORT:
        take_report(s, f->report);
        break;
    case REMUDA__FRAME__BODY_RECALLED:
        s->recalls++;
        s->recalled_id = f->recalled->id;
        s->recalled_n = f->recalled->up_to_n;
        ack.id = f->recalled->id;
        stage_say(s, REMUDA__FRAME__BODY_RECALLED_ACK, &ack);
        break;
    case REMUDA__FRAME__BODY_SUPPRESS_ACK:
        s->suppresses++;
        s->suppressed_id = f->suppress_ack->id;
        break;
    case REMUDA__FRAME__BODY_ALARM:
        s->alarms++;
        alarm_ack.n_n = 1;
        alarm_ack.n = &f->alarm->n;
        stage_say(s, REMUDA__FRAME__BODY_ALARM_ACK, &alarm_ack);
        break;
    case REMUDA__FRAME__BODY_BYE:
        s->byes++;
        break;
    case REMUDA__FRAME__BODY_TLS_REPORT:
        tls_ack.run = f->tls_report->run;
        tls_ack.n = f->tls_report->n;
        stage_say(s, REMUDA__FRAME__BODY_TLS_REPORT_ACK, &tls_ack);
        break;
    default:
        fail_msg("a node said frame %d", (int)f->body_case);
    }
}

/* Serves the bus until *counter is at least `wanted`. */
void stage_serve(struct stage *s) {
    struct pollfd p = {.fd = rmd_bus_server_fd(s->bus), .events = POLLIN};
    struct rmd_slice bytes;
    poll(&p, 1, 50);
    while (rmd_bus_server_recv(s->bus, &s->peer, &bytes) == RMD_OK) {
        struct rmd_arena a = {0};
        Remuda__Frame *f;
        assert_int_equal(rmd_frame_decode(bytes, &a, &f), RMD_OK);
        take(s, f);
        rmd_arena_release(&a);
    }
}

void stage_until(struct stage *s, const unsigned *counter, unsigned wanted) {
    int64_t end = rmd_clock_host()->now(NULL).mono_ms + STAGE_PATIENCE_MS;
    while (*counter < wanted) {
        assert_true(rmd_clock_host()->now(NULL).mono_ms < end);
        stage_serve(s);
    }
}

void stage_kill_at_probe(struct stage *s) {
    int64_t end = rmd_clock_host()->now(NULL).mono_ms + STAGE_PATIENCE_MS;
    int status = 0;
    pid_t got;
    while ((got = waitpid(s->node, &status, WNOHANG | WUNTRACED)) == 0) {
        assert_true(rmd_clock_host()->now(NULL).mono_ms < end); /* a probe that never fires */
        stage_serve(s);
    }
    assert_int_equal(got, s->node);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(s->node, SIGKILL);
    assert_int_equal(waitpid(s->node, &status, 0), s->node);
    stage_serve(s); /* what it had said before */
}

void stage_end_child(struct stage *s) {
    int status = 0;
    kill(s->node, SIGTERM);
    pid_t got;
    int64_t end = rmd_clock_host()->now(NULL).mono_ms + STAGE_PATIENCE_MS;
    while ((got = waitpid(s->node, &status, WNOHANG)) == 0 && rmd_clock_host()->now(NULL).mono_ms < end)
        stage_serve(s);
    assert_int_equal(got, s->node);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void stage_deal(struct stage *s, uint64_t id, uint32_t source, size_t rows, const char *pattern) {
    Remuda__Lease l = REMUDA__LEASE__INIT;
    char email[] = "email", *column = email;
    ProtobufCBinaryData *row = rmd_arena_alloc(&s->arena, rows * sizeof *row);
    struct rmd_id campaign = rmd_id_make(1700000000000, 7);
    for (size_t i = 0; i < rows; i++) {
        Remuda__Row r = REMUDA__ROW__INIT;
        struct rmd_buf b = {0};
        r.ordinal = id * 1000 + i;
        r.email = rmd_arena_printf(&s->arena, "u%zu.%llu%s", i, (unsigned long long)id, pattern);
        rmd_pb_encode(&r, &b);
        row[i] = (ProtobufCBinaryData){b.len, rmd_arena_dup(&s->arena, b.p, b.len)};
        rmd_buf_release(&b);
    }
    l.id = id;
    l.source = source;
    l.provider = rmd_provider_id("other");
    l.stream = l.tenant = 1;
    l.campaign = (ProtobufCBinaryData){16, campaign.b};
    l.template_hash = (ProtobufCBinaryData){sizeof s->hash, s->hash};
    l.n_row = rows;
    l.row = row;
    l.n_column = 1;
    l.column = &column;
    stage_say(s, REMUDA__FRAME__BODY_LEASE, &l);
}

unsigned stage_transcript_count(const struct stage *s, const char *what) {
    struct rmd_buf b = {0};
    char piece[65536];
    unsigned n = 0;
    int fd = open(s->log, O_RDONLY);
    assert_true(fd >= 0);
    for (ssize_t got; (got = read(fd, piece, sizeof piece)) > 0;)
        rmd_buf_add(&b, piece, (size_t)got);
    close(fd);
    for (const char *at = rmd_buf_str(&b); (at = strstr(at, what)); at++)
        n++;
    rmd_buf_release(&b);
    return n;
}
