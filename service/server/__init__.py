"""The HTTP front: gunicorn's master and parser, and an event loop of ours between them.

gunicorn's threaded worker reads each request in a thread, as slowly as it comes, without a deadline, and queues what is
too much. So one worker of ours runs an event loop, which has each request complete before it costs a thread.

    a connection    accepted where this worker is to (`handover`), and no other has fewer requests       row 49
    its head        within 8 s, or it is closed; a long one is rejected                                  rows 10, 45
    a rejection     by the head alone: no key, spent quota, foreign page, no free slot (`rejection`)     rows 28, 48
    its body        within the request's deadline, and all together within a bound; too large is 413     rows 3, 4, 11
    an answer       by a thread of its kind, so that probes never wait for rankings; what a client does
                    not take at once is sent by the event loop, under a deadline and a bound             rows 30, 31, 64
    the end         SIGTERM: what was accepted is answered; SIGHUP: successors load before it            rows 40, 47

Modules, and the names of gunicorn's that each leans on besides settings and hooks (tests/test_server_gunicorn.py fails
where a release lacks one or changes it):

    gunicorn_conf   settings and hooks; SIGHUP in our way      Arbiter: reload, manage_workers, spawn_worker, WORKERS,
                                                               num_workers; Worker.pid
    worker          the event loop, and the thread's part      Worker: run, handle_exit, notify, sockets, wsgi, cfg;
                    of a request                               http.get_parser, Request.should_close, http.wsgi.create
    connection      a connection's state, a request's bytes
    rejection       what is rejected before it costs a         http.errors: ParseException (row 9), LimitRequestLine,
                    thread, and the bytes of that answer       LimitRequestHeaders
    handover        which workers load, serve, are to stop
    process_state   what the event loop and the app share
"""
