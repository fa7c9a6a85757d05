// SPDX-License-Identifier: Apache-2.0

public import Core

extension Scheduler {
  /// All times in milliseconds.
  public struct Configuration: Sendable, Equatable {
    /// A worker that has been silent for this long gets nothing new, and is told (by its own clock) to stop everything.
    public var leaseMs: Int64 = 5_000
    /// After the lease, before its units run elsewhere. Covers the drift of two clocks over one lease.
    public var marginMs: Int64 = 1_000
    /// After a restart, how long workers may take to report what they hold.
    public var restoreGraceMs: Int64 = 10_000
    /// An assignment that a heartbeat does not list is sent again after this long.
    public var resendMs: Int64 = 2_000
    /// Being called this much later than `nextDeadline` means that the scheduler itself stood still, not the workers.
    public var stallMs: Int64 = 1_500
    /// Failed attempts of one unit (executor crashes included) until its task attempt fails.
    public var unitFailureLimit = 3
    /// Lost attempts of one unit (worker deaths) until its task attempt fails.
    public var unitLossLimit = 10
    public var unitBackoff = Backoff(firstMilliseconds: 500, limitMilliseconds: 10_000)
    /// Retryable failures of planning or committing one stage until the task attempt fails.
    public var infrastructureFailureLimit = 5
    public var infrastructureBackoff = Backoff(firstMilliseconds: 500, limitMilliseconds: 15_000)
    /// Restart delays of a replica that keeps ending.
    public var replicaBackoff = Backoff(firstMilliseconds: 1_000, limitMilliseconds: 60_000)
    /// A replica that was ready for this long starts again without a delay.
    public var replicaStableMs: Int64 = 60_000
    /// Replicas that have all been ready for this long may be spread again over the workers.
    public var rebalanceAfterMs: Int64 = 15_000
    /// After a replica that was to take another one's place has failed, before the next try.
    public var rebalanceBackoff = Backoff(firstMilliseconds: 60_000, limitMilliseconds: 3_600_000)
    /// A replica that has found no room for this long takes that of work which may be stopped for it: shards, and gangs that have just
    /// written a checkpoint. 0.1 of it stops work that was about to end; ten times it is an endpoint that is small for a minute.
    public var preemptAfterMs: Int64 = 5_000
    /// After this long also gangs that have not: a checkpoint interval may be hours.
    public var preemptGangAfterMs: Int64 = 120_000
    /// Between two such decisions for one service, so that one that keeps failing does not stop everything beside it again and again.
    public var preemptionBackoff = Backoff(firstMilliseconds: 10_000, limitMilliseconds: 600_000)
    /// How often one unit is stopped for services; then it is left alone.
    public var preemptionLimit = 3
    /// A repeatable shard that runs for longer than this many times what half of its stage's finished ones took is started a second time, on
    /// another worker that has nothing else to do.
    public var rivalFactor: Int64 = 2
    /// And for longer than this: what is short is over before a second attempt has begun.
    public var rivalLeastMs: Int64 = 5_000
    /// Finished shards of the stage that it takes to tell, besides half of all.
    public var rivalSamples = 3
    /// How long a stage leaves slots to others while the workers that have the data of its shards have none. 0.1 of it reads everything over
    /// the network; ten times it is more than what reading it takes.
    public var affinityWaitMs: Int64 = 1_000
    /// Waiting shards of a stage that are looked at for one whose worker has room.
    public var affinityWindow = 32
    /// Requests in flight on a draining replica have this long.
    public var drainMs: Int64 = 30_000
    /// How much work of a stage, by what its shards took so far, may wait on a worker for each of its slots.
    public var aheadMs: Int64 = 50
    /// And how many shards at most, once so many have ended.
    public var aheadLimit = 8
    public var aheadSamples = 4
    /// What waits for longer is given to a worker that has a free slot.
    public var aheadPatienceMs: Int64 = 500
    /// A gang that works with fewer ranks than it wants begins anew with more, at a checkpoint, when it has worked for this long. 0.1 of it
    /// spends its time with beginning anew where workers come and go; ten times it leaves slots idle for an hour.
    public var gangGrowAfterMs: Int64 = 300_000
    /// Kinds of tasks whose planning changes nothing anywhere.
    public var purePlans: Set<String> = []
    /// Seed of the jitter.
    public var seed: UInt64 = 1

    public init() {}
  }
}
