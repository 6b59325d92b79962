// Sends one call of each type with the real Node client, and fails unless each was delivered.
import { Analytics } from '@segment/analytics-node'

const [host, writeKey] = process.argv.slice(2)
const failures = []
const analytics = new Analytics({ host, writeKey, flushAt: 4, maxRetries: 0 })
analytics.on('error', (error) => failures.push(error))

const timestamp = new Date('2024-05-06T07:08:09.010Z')
analytics.identify({ userId: 'u1', traits: { email: 'a@x.io', plan: 'free' }, timestamp })
analytics.track({ userId: 'u1', event: 'Order Completed', properties: { total: 12.5, note: 'ü ✓ 😀' }, timestamp })
analytics.page({ anonymousId: 'a1', name: 'Home', timestamp })
analytics.screen({ anonymousId: 'a1', name: 'Cart', timestamp })
analytics.group({ userId: 'u1', groupId: 'g1', traits: { name: 'Acme' }, timestamp })
analytics.alias({ userId: 'u1', previousId: 'a1', timestamp })
await analytics.closeAndFlush({ timeout: 10000 })

if (failures.length > 0) {
  console.error(failures)
  process.exit(1)
}
