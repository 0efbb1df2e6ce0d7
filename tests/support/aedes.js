// aedes as the broker beside the gateway, in memory. Prints its port, and then what its clients do.
const aedes = require(process.argv[2])();
// It closes the connection of a client that publishes below one of these.
const denied = process.argv.slice(3);
aedes.authorizePublish = (client, packet, done) => {
  const is_denied = packet.topic.startsWith('$SYS/') || denied.some((start) => packet.topic.startsWith(start));
  done(is_denied ? new Error('denied') : null);
};
const server = require('net').createServer(aedes.handle);
aedes.on('subscribe', (filters, client) => console.log(`subscribed ${client.id} ${filters.map((filter) => filter.topic)}`));
aedes.on('clientDisconnect', (client) => console.log(`disconnected ${client.id}`));
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
