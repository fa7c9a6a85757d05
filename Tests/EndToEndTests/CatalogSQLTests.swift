// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Views, functions, parameters and texts of several statements on a real cluster.
  @Suite(.serialized) struct CatalogSQLTests {
    @Test func viewsFunctionsAndScripts() throws {
      let cluster = try LocalCluster("catalogsql")
      #expect(try cluster.start(workers: 1).status == 0)
      func answer(_ sql: String) throws -> JSONValue {
        let result = try cluster.cli(["sql", sql, "-o", "json"])
        #expect(result.status == 0, "\(sql)\n\(result.all)")
        return (try? JSONValue(parsing: result.out)) ?? .null
      }
      func rows(_ sql: String) throws -> JSONValue { try answer(sql)["rows"] ?? .null }
      func failure(_ sql: String) throws -> String {
        let result = try cluster.cli(["sql", sql])
        #expect(result.status != 0, "\(sql)\n\(result.all)")
        return result.err
      }

      // A text of several statements: USE and temporary views carry over, the last statement's rows are the answer.
      let script = try answer(
        """
        create catalog if not exists shop comment 'it''s ours';
        create schema shop.eu comment 'Europe';
        use shop.eu;
        create table orders as select i as id, i * 2.5 as price, case when i % 2 = 0 then 'DE' else 'FR' end as country from range(10) t(i);
        create temp view big as select * from orders where price > 10;
        create view by_country (country comment 'two letters', total) comment 'sums' as select country, sum(price) from orders group by 1;
        create view top as select * from by_country where total > 50;
        create function with_tax(price double, rate double default 0.5) returns double return price * (1 + rate);
        create function orders_of(c string) returns table (id bigint, price double) return select id, price from orders where country = c;
        select count(*) as n from big
        """)
      #expect(script["rows"] == [[5]] && script["statements"]?.arrayValue?.count == 10, "\(script.sortedText)")
      #expect(script["catalog"] == "shop" && script["schema"] == "eu")
      #expect(try rows("select country, total from shop.eu.top order by 1") == [["FR", "62.5"]])
      let called = try rows("use shop.eu; select with_tax(10.5), with_tax(10.5, rate => 0), (select count(*) from orders_of('DE'))")
      #expect(called == [[15.75, 10.5, 5]], "\(called.sortedText)")
      #expect(try rows("show views in shop.eu") == [["eu", "by_country", false], ["eu", "top", false]])
      #expect(try rows("describe shop.eu.by_country").arrayValue?.first == ["country", "varchar", "two letters"])
      #expect(try rows("show functions in shop.eu like 'with*'") == [["shop.eu.with_tax"]])
      #expect(try rows("show create view shop.eu.top").sortedText.contains("select * from by_country where total > 50"))

      // Errors say which statement of a text, and what is stale, circular or in the way.
      let second = try failure("select 1;\n  select * from nowhere_to_be_found")
      #expect(second.contains("statement 2 of 2 (line 2, column 3)"), "\(second)")
      #expect(try failure("create or replace view shop.eu.by_country as select * from shop.eu.top").contains("PLT-3221"))
      #expect(try failure("create table shop.eu.top as select 1 as a").contains("PLT-3003"))
      #expect(try failure("insert into shop.eu.top select 'x', 1").contains("is a view"))
      #expect(try failure("drop table shop.eu.top").contains("DROP VIEW"))
      #expect(try failure("select shop.eu.with_tax(1, rat => 2)").contains("no parameter 'rat'"))
      #expect(
        try failure("create function shop.eu.leak() returns table (l string) return select content from read_text('/etc/passwd')").contains("not allowed"))
      #expect(try failure("create view shop.eu.leak as select * from read_csv('/etc/passwd')").contains("not allowed"))
      #expect(try rows("create or replace table shop.eu.orders as select 1 as other; select 1") == [[1]])
      #expect(try failure("select * from shop.eu.top").contains("PLT-3222"))
      #expect(try failure("drop schema shop.eu").contains("PLT-1701"))
      #expect(try rows("drop catalog shop cascade; show catalogs like 'sh*'") == [])
    }
  }
}
