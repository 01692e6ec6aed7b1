"""What is learned from orders: each module here is one signal or one step towards signals.

The way of the data, for one `Cut` (which events may be seen):

1. `counts.CountPartition`, one task per partition of customers: integer aggregates.
2. `merge.MergeTotals`, one task: the partitions' small aggregates added up, price bands.
3. `pairs.LearnAffinity`, one task per range of items: the pair counts added up, `affinity` rows.
4. `collaborative.LearnCollaborative`, one task per method: `walk`, `regression` and `factors` of a
   bounded sample of customers; and beside them `learn.LearnSignals`, one task per part: offers'
   facts with `prior`, `affinity` and the `neighbours` sample, then `context`, and `vectors`.
5. `learn.GatherGlobals`, one task: the results of 4 in one folder, the *globals*, as arrays that
   every later task maps into memory.
6. `lesson_taking.TakeLessons`, one task per partition of customers: `lessons` from the orders after
   the cut; then `personal_fit.FitPersonal`, one task per kind of customer: the `personal_model`.
7. `personal.score_partition`, one call per partition of customers, gives the customers' rows.

All values are natural logs of shares or lifts, so they add up. Counts are integers and ties are
broken by row number: results do not depend on partitioning, the order of tasks or the number of
workers. Only sums over lessons are of fractions; they are added up in the order of partitions.
"""
