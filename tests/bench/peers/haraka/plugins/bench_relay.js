// Takes mail from everybody for everybody, and knows the way by config/routes (DOMAIN ADDRESS PORT). Haraka asks the client's name
// at every connection: it asks config/nameserver, which answers at once that it doesn't know.
'use strict'

const dns = require('node:dns')

exports.register = function () {
    dns.setServers(this.config.get('nameserver', 'list'))
    this.routes = new Map(
        this.config.get('routes', 'list').map((line) => {
            const [domain, exchange, port] = line.split(' ')
            return [domain, { exchange, port: Number(port), priority: 0 }]
        }),
    )
}

exports.hook_connect = function (next, connection) {
    connection.relaying = true
    next()
}

exports.hook_rcpt = function (next) {
    next(OK)
}

exports.hook_get_mx = function (next, hmail, domain) {
    const mx = this.routes.get(domain)
    return mx ? next(OK, mx) : next()
}
